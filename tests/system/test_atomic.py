"""Files and folders that are complete or not there."""

import errno
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from distillkit.errors import DiskFull, DiskLost, StoreError
from distillkit.system import atomic
from distillkit.system.atomic import atomic_file, atomic_folder, remove_file, write_json
from distillkit.system.temporary import TEMPORARY


def everything_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("within", [True, False])
def test_a_folder_in_the_place_of_a_file_is_named_before_anything_is_written(tmp_path, within):
    (tmp_path / "there").mkdir()
    with (
        pytest.raises(IsADirectoryError) as caught,
        atomic_file(tmp_path / "there", within=tmp_path if within else None),
    ):
        pytest.fail("nothing is to be written")
    assert caught.value.filename == str(tmp_path / "there")


def test_a_file_appears_whole_and_makes_its_folders(tmp_path):
    with atomic_file(tmp_path / "a/b/c.bin") as file:
        file.write(b"123")
        assert not (tmp_path / "a/b/c.bin").exists()
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"123"
    assert everything_below(tmp_path) == ["a", "a/b", "a/b/c.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_rubbish(tmp_path, error):
    (tmp_path / "c.bin").write_bytes(b"old")
    with pytest.raises(error), atomic_file(tmp_path / "c.bin") as file:
        file.write(b"new")
        raise error
    assert (tmp_path / "c.bin").read_bytes() == b"old"
    assert everything_below(tmp_path) == ["c.bin"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(ValueError, match="stop"), atomic_folder(tmp_path / "made") as partial:
        (partial / "one").write_text("1")
        raise ValueError("stop")
    assert everything_below(tmp_path) == []
    (tmp_path / f"made{TEMPORARY}").mkdir()
    (tmp_path / f"made{TEMPORARY}" / "left by a kill").write_text("")
    with atomic_folder(tmp_path / "made") as partial:
        (partial / "deep").mkdir()
        (partial / "deep/one").write_text("1")
    assert everything_below(tmp_path) == ["made", "made/deep", "made/deep/one"]


@pytest.mark.parametrize("within", [True, False])
def test_each_of_several_writers_has_a_name_of_its_own(tmp_path, within):
    folder = tmp_path if within else None
    with atomic_file(tmp_path / "a", within=folder) as one:
        one.write(b"1" * 20_000)
        with atomic_file(tmp_path / "a", within=folder) as other:
            other.write(b"2")
        assert (tmp_path / "a").read_bytes() == b"2"
    assert (tmp_path / "a").read_bytes() == b"1" * 20_000 and everything_below(tmp_path) == ["a"]


def test_a_folder_that_others_moved_away_is_not_made_anew(tmp_path):
    gone = tmp_path / "store"
    for path in (gone / "a", gone / "deep/er/a"):
        with pytest.raises(DiskLost, match="store: it is gone"), atomic_file(path, within=gone):
            pass
    assert everything_below(tmp_path) == []


def test_a_folder_that_is_moved_away_while_one_is_made_within_is_not_made_anew(tmp_path, monkeypatch):
    gone, mkdir = tmp_path / "store", os.mkdir
    gone.mkdir()

    def late(place, *options):
        if gone.exists():
            gone.rename(tmp_path / "aside")
        mkdir(place, *options)

    monkeypatch.setattr(os, "mkdir", late)
    with pytest.raises(FileNotFoundError), atomic_file(gone / "deep/er/a", within=gone):
        pass
    assert everything_below(tmp_path) == ["aside"]


def test_a_file_that_may_not_go_has_its_name_again(tmp_path):
    def refuse():
        assert not (tmp_path / "a").exists()
        raise StoreError("of another")

    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(StoreError):
        remove_file(tmp_path / "a", refuse)
    assert (tmp_path / "a").read_bytes() == b"1" and everything_below(tmp_path) == ["a"]
    remove_file(tmp_path / "a", lambda: None)
    assert everything_below(tmp_path) == []


def test_equal_values_are_equal_files(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": "ü"})
    write_json(tmp_path / "b", {"a": "ü", "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_bytes()) == {"a": "ü", "b": 1}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_every_new_folder_is_made_durable_in_its_parent(tmp_path, monkeypatch):
    synced, real = set(), os.fsync

    def watched(handle):
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_json(tmp_path / "a/b/c.json", 1)
    assert {tmp_path, tmp_path / "a", tmp_path / "a/b"} <= synced


def test_of_two_who_fill_one_folder_the_first_has_it_whole(tmp_path):
    with (
        pytest.raises(OSError, match=r"not empty|exists"),
        atomic_folder(tmp_path / "made") as one,
        atomic_folder(tmp_path / "made") as other,
    ):
        (one / "a").write_text("")
        (other / "b").write_text("")
    assert everything_below(tmp_path) == ["made", "made/b"]


def test_folders_that_are_there_are_made_durable_once_a_process(tmp_path, monkeypatch):
    """Who made them may have been killed before they were; and asking for every file would cost more than the files."""
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setattr(atomic, "_settled", set())
    synced = []
    monkeypatch.setattr(atomic, "sync", synced.append)
    write_json(tmp_path / "a/b/c.json", 1)
    first, synced[:] = [*synced], []
    assert first == [tmp_path / "a", *(tmp_path / "a").parents, tmp_path / "a/b"]
    write_json(tmp_path / "a/b/d.json", 1)
    assert synced == [tmp_path / "a/b"]


@pytest.mark.parametrize(("code", "passed_over"), [(errno.EACCES, True), (errno.EINVAL, True), (errno.EIO, False)])
def test_of_a_folder_that_cannot_be_asked_nothing_is_asked(tmp_path, monkeypatch, code, passed_over):
    monkeypatch.setattr(atomic, "_settled", set())

    def refuse(folder):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic, "sync", refuse)
    with nullcontext() if passed_over else pytest.raises(OSError, match=str(tmp_path)):
        atomic.settle(tmp_path / "a")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EIO])
def test_a_disk_that_knows_no_fsync_of_folders_is_written_all_the_same(tmp_path, monkeypatch, code):
    """Such as mounts of FUSE and older ones of SMB; that one fails stays an error, and so does any of a file."""
    real = os.fsync

    def fsync(handle, refuses=stat.S_ISDIR):
        if refuses(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(atomic, "_settled", set())
    with pytest.raises(DiskLost) if code == errno.EIO else nullcontext():
        write_json(tmp_path / "a/b.json", 1)
        with atomic_folder(tmp_path / "c/d") as partial:
            (partial / "e").write_text("")
        remove_file(atomic.set_aside(tmp_path / "a/b.json", "old"))
        assert (tmp_path / "c/d/e").exists() and not list((tmp_path / "a").iterdir())
        monkeypatch.setattr(os, "fsync", lambda handle: fsync(handle, stat.S_ISREG))
        with pytest.raises(OSError, match=re.escape(os.strerror(code))):
            write_json(tmp_path / "b.json", 1)
        assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, where):
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(type(tmp_path), "replace", full)
    with pytest.raises(DiskFull, match=r"c\.json: no space left on the disk; .* run the same command again$"):
        write_json(tmp_path / "c.json", 1)
    monkeypatch.undo()
    assert everything_below(tmp_path) == []


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists") as caught:
        write_json(tmp_path / "file/below.json", 1)
    assert not isinstance(caught.value, DiskFull)


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 64 KiB; only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(tiny_disk):
    write_json(tiny_disk / "kept.json", 1)
    for name in ("big", "big"):
        with pytest.raises(DiskFull), atomic_file(tiny_disk / name) as file:
            file.write(bytes(100_000))
    with pytest.raises(DiskFull), atomic_folder(tiny_disk / "folder") as partial:
        (partial / "big").write_bytes(bytes(100_000))
    assert everything_below(tiny_disk) == ["kept.json"]
    with atomic_file(tiny_disk / "small") as file:
        file.write(bytes(1000))


@pytest.mark.parametrize("told_as", [".", "whole"])
def test_a_place_that_can_only_be_read_is_told_as_one(tmp_path, monkeypatch, told_as):
    """As a store that somebody else lends: its user cannot mount it, and a name that passes says nothing."""

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "tmp0a_b1c2d"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    monkeypatch.chdir(tmp_path)
    place = Path() if told_as == "." else tmp_path
    with pytest.raises(DiskLost) as told, atomic.noticing_a_full_disk(place), tempfile.TemporaryFile(dir=place):
        pytest.fail("nothing can be written")
    assert str(told.value).startswith(f"{place}: the disk does not answer (Read-only file system); ")
    assert "or name another place" in str(told.value)
