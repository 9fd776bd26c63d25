"""Names of what is not whole yet: what dead processes left goes, and what a live one fills stays."""

import errno
import multiprocessing as mp
import os
import signal

import pytest

from distillkit.errors import NoLocks, in_the_end, refused
from distillkit.store.format.replaced import beside
from distillkit.system import locks, temporary
from distillkit.system.atomic import atomic_file, atomic_folder, remove_file, write_json
from distillkit.system.temporary import TEMPORARY

FORK = mp.get_context("fork")
ROUNDS = 20


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fills(kind, path, begun, goes_on):
    """In a process of its own: half of it is there, then it waits."""
    with kind(path) as out:
        if kind is atomic_file:
            out.write(b"half")
            out.flush()
        else:
            (out / "half").write_text("half")
        begun.set()
        goes_on.wait(60)


@pytest.fixture(params=[atomic_file, atomic_folder])
def another(request, tmp_path):
    """A process that fills `made`, and what lets it go on."""
    begun, goes_on = FORK.Event(), FORK.Event()
    process = FORK.Process(target=fills, args=(request.param, tmp_path / "made", begun, goes_on))
    process.start()
    assert begun.wait(60)
    yield request.param, process, goes_on
    process.kill()
    process.join()


def test_what_a_live_process_fills_stays_and_what_a_dead_one_left_goes(another, tmp_path):
    kind, process, _ = another
    (half,) = names(tmp_path)
    temporary.tidy(tmp_path / "made")
    assert names(tmp_path) == [half]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with kind(tmp_path / "made"):
        assert half not in names(tmp_path)
    assert names(tmp_path) == ["made"]


def test_who_is_not_killed_ends_as_if_nobody_else_had_been_there(another, tmp_path):
    kind, process, goes_on = another
    with pytest.raises(ValueError, match="mine"), kind(tmp_path / "made"):
        raise ValueError("mine")
    goes_on.set()
    process.join()
    assert process.exitcode == 0 and names(tmp_path) == ["made"]


@pytest.mark.parametrize("how", ["none", "off"])
def test_where_there_are_no_locks_threads_of_one_process_keep_theirs(tmp_path, monkeypatch, how):
    if how == "off":
        monkeypatch.setenv(locks.VARIABLE, "off")
    else:

        def none(*_):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(locks.fcntl, "flock", none)
        with pytest.raises(NoLocks), locks.locked(tmp_path / "lock"):
            pass
        (tmp_path / "lock").unlink()
    for kind in (atomic_file, atomic_folder):
        with kind(tmp_path / "made"):
            (half,) = names(tmp_path)
            temporary.tidy(tmp_path / "made")
            assert names(tmp_path) == [half]
        remove_file(tmp_path / "made") if kind is atomic_file else (tmp_path / "made").rmdir()
        assert names(tmp_path) == []


def test_only_what_was_to_be_that_very_file_is_tidied(tmp_path):
    ours = ["made.0123abcd.partial", ".made.0123abcd.partial", "made.partial"]
    others = [".made.2.0123abcd.partial", "made.x.partial", "made.v2.partial", "unmade.0123abcd.partial", "made.txt"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("")
    write_json(tmp_path / "made", 1)
    assert names(tmp_path) == sorted([*others, "made"])


def test_deep_within_a_store_no_folder_is_listed(tmp_path, monkeypatch):
    """There may be a million files: its writer tidies once."""
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda place: pytest.fail(f"{place} is listed"))
    with atomic_file(tmp_path / "index/00000.arrow", within=tmp_path) as file:
        file.write(b"1")


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "n" * 239 + ".json"])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path, name):
    for kind in (atomic_file, atomic_folder):
        with kind(tmp_path / name):
            (half,) = names(tmp_path)
            assert len(os.fsencode(half)) <= 255 and half.endswith(TEMPORARY)
            (tmp_path / half).rename(left := tmp_path / f"{half[:-16]}0123abcd{TEMPORARY}")
            left.rename(tmp_path / half)
        remove_file(tmp_path / name) if kind is atomic_file else (tmp_path / name).rmdir()
    (tmp_path / left.name).write_text("")
    with atomic_file(tmp_path / name):
        pass
    assert names(tmp_path) == [name]


def many(path, letter, barrier):
    barrier.wait(60)
    for _ in range(ROUNDS):
        with atomic_file(path) as file:
            for _ in range(4):
                file.write(letter * 5_000)
                file.flush()


def test_of_files_that_several_write_at_once_none_is_torn(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    path, barrier = tmp_path / "made", FORK.Barrier(3)
    processes = [FORK.Process(target=many, args=(path, letter, barrier)) for letter in (b"a", b"b")]
    for process in processes:
        process.start()
    barrier.wait(60)
    while any(process.is_alive() for process in processes):
        data = path.read_bytes() if path.exists() else b""
        assert len(data) in (0, 20_000) and len(set(data)) <= 1
    assert [process.exitcode for process in processes] == [0, 0] and names(tmp_path) == ["made"]


def test_all_files_below_a_folder_are_tidied_where_nobody_may_write_again(tmp_path):
    (tmp_path / "deep/.exports.0123abcd.partial").mkdir(parents=True)  # by another machine, it may be
    for name in ("made.0123abcd.partial", "deep/a.json.0123abcd.partial"):
        (tmp_path / name).write_text("")
    (tmp_path / "deep/a.partial").write_text("somebody's own")
    with atomic_file(tmp_path / "deep/b"):
        temporary.tidy_below(tmp_path)
        assert len(names(tmp_path / "deep")) == 3
    assert names(tmp_path) == ["deep"] and names(tmp_path / "deep") == [".exports.0123abcd.partial", "a.partial", "b"]
    temporary.tidy_below(tmp_path, folders=True)
    assert names(tmp_path / "deep") == ["a.partial", "b"]
    temporary.tidy_below(tmp_path / "nowhere")


def test_what_is_not_whole_yet_is_told_by_the_name_that_it_will_have(tmp_path):
    path = tmp_path / "out/images.v1"
    for folder in (True, False):
        assert in_the_end(temporary.temporary(path, folder=folder) / "c/0") == str(path / "c/0")
        assert in_the_end(temporary.temporary(path, folder=folder)) == str(path)
    assert in_the_end(beside(path)) == str(path)
    assert in_the_end(temporary.temporary(beside(path) / "index/0.arrow")) == str(path / "index/0.arrow")
    staged = tmp_path / f"out/.images.v1.staged/12/{'0f' * 16}"
    assert in_the_end(staged / "index/0.arrow") == str(path / "index/0.arrow")
    for place in (path, tmp_path / ".other.appending/images", tmp_path / "a.partial", tmp_path / ".hidden/x"):
        assert in_the_end(place) == str(place)


def test_a_refusal_of_what_is_not_whole_yet_tells_its_name_once(tmp_path):
    path = tmp_path / "a.json"
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(temporary.temporary(path)), None, str(path))
    assert refused(error).startswith(f"{path}: permission denied; ")
