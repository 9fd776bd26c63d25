"""A path that is not there, and nearly is: the nearest name is offered, wherever a user may have meant one."""

import errno
import os
from pathlib import Path

import pytest

from distillkit.errors import DiskLost, RecipeError, SourceError, StoreError, TrainError, refused
from distillkit.recipe import ExtractRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.sources._places import file_at, folder_at
from distillkit.store.format.manifest import Manifest
from distillkit.system.atomic import noticing_a_full_disk
from distillkit.system.paths import followed, meant
from distillkit.system.turns import lock_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/cats").mkdir(parents=True)
    (tmp_path / "photos/texts.txt").write_text("a\n")
    return tmp_path


def test_the_first_part_that_is_not_there_is_what_was_misspelt(folder):
    assert meant(folder / "photso/cats") == f", did you mean {folder}/photos/cats?"
    assert meant(folder / "photos/cat") == f", did you mean {folder}/photos/cats?"
    assert meant(folder / "photso/dogs") == "" and meant(folder / "x") == "" and meant("") == ""


def test_the_beginning_of_a_name_and_a_part_of_it_are_what_was_meant(folder):
    for name in ("mine/validation", "mine/held-out-validation", "mine/images.index", "mine/more.before-1"):
        (folder / name).mkdir(parents=True)
    assert meant(folder / "mine/valid") == f", did you mean {folder}/mine/validation?"
    assert (
        meant(folder / "mine/held")
        == meant(folder / "mine/out")
        == f", did you mean {folder}/mine/held-out-validation?"
    )
    for name in ("va", "images", "more", "valid/more"):  # a letter or two, what lies beside, what is not there
        assert meant(folder / "mine" / name) == ""


def test_everybody_who_names_a_path_is_asked(folder):
    near = f"did you mean {folder}/photos"
    for error, opening in (
        (SourceError, lambda: folder_at(str(folder / "phots"))),
        (SourceError, lambda: file_at(str(folder / "photos/text.txt"))),
        (StoreError, lambda: Manifest.read(folder / "phots")),
        (TrainError, lambda: RunFolder(folder / "phots").recipe()),
        (RecipeError, lambda: load(folder / "phots/texts.txt", kind=ExtractRecipe)),
    ):
        with pytest.raises(error, match=near):
            opening()


def _error(number, place):
    return OSError(number, os.strerror(number), str(place))


def test_who_is_refused_the_cache_is_told_how_another_is_chosen(folder, monkeypatch):
    """Containers with a number for a user have "/" for a home, and often one that is only read."""
    monkeypatch.setenv("DISTILLKIT_CACHE", str(folder / "home/.cache/distillkit"))
    told = "mend that place, or set DISTILLKIT_CACHE to a folder that can be written, and run the same command again"
    for place in ("home/.cache", "home/.cache/distillkit", "home/.cache/distillkit/demo/images.tar"):
        assert refused(_error(errno.EACCES, folder / place)) == f"{folder / place}: permission denied; {told}"
        with pytest.raises(DiskLost, match="set DISTILLKIT_CACHE"), noticing_a_full_disk(folder / place):
            raise _error(errno.EROFS, folder / place)
    for place in ("photos", "out", ""):  # others, also where the cache lies below one that is there
        assert "DISTILLKIT_CACHE" not in refused(_error(errno.EACCES, folder / place))
    with pytest.raises(DiskLost, match="mount it again"), noticing_a_full_disk(folder):
        raise _error(errno.EIO, folder / "home/.cache")


def test_a_home_that_may_not_be_looked_into_is_no_second_error(folder, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(folder / "home/.cache/distillkit"))

    def refusing(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    line = _error(errno.EACCES, folder / "home/.cache")
    monkeypatch.setattr("pathlib.Path.stat", refusing)
    monkeypatch.setattr("os.stat", refusing)
    assert "set DISTILLKIT_CACHE" in refused(line)


def test_without_any_temporary_folder_it_is_told_how_one_is_chosen(folder):
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/a', '/b']")
    with pytest.raises(FileNotFoundError) as raised, noticing_a_full_disk(folder):
        raise error
    assert refused(raised.value).startswith(
        "No usable temporary directory found in ['/a', '/b']; set TMPDIR to a folder"
    )


def test_a_link_is_followed_where_something_can_lie_beside_what_it_leads_to(tmp_path, monkeypatch):
    (tmp_path / "disks/mine").mkdir(parents=True)
    link, absent = tmp_path / "link", tmp_path / "absent"
    link.symlink_to(tmp_path / "disks/mine")
    absent.symlink_to(tmp_path / "none/yet")
    assert followed(link) == tmp_path / "disks/mine" and followed(absent) == tmp_path / "none/yet"
    assert followed(tmp_path / "disks") == tmp_path / "disks"
    lock = lock_of(absent)
    (tmp_path / "none").mkdir()
    assert lock_of(absent) == lock == tmp_path / "none/.yet.lock", "the same one before its folder is made"
    with monkeypatch.context() as patch:
        patch.setattr("os.path.ismount", lambda place: place == tmp_path / "disks/mine")
        assert followed(link) == link
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda place, mode, **knobs: place != tmp_path / "disks")
        assert followed(link) == link and lock_of(link) == tmp_path / ".link.lock"
        monkeypatch.chdir(tmp_path / "disks/mine")
        assert lock_of(Path()) == tmp_path / "disks/.mine.lock"


def test_a_run_whose_folder_is_another_ones_is_set_aside_as_a_link(tmp_path, monkeypatch):
    """Such as a disk that its owner was given: nothing there can be renamed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "mine")
    monkeypatch.setattr("os.path.ismount", lambda place: place == tmp_path / "mine")
    run = RunFolder(tmp_path / "run")
    with run.locked():
        aside = run.move_aside()
    assert aside.is_symlink() and aside.parent == tmp_path and (tmp_path / "mine").is_dir() and not run.path.exists()
