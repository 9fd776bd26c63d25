"""Folders that go, and those that must stay a while."""

import errno
import sys

import pytest

from distillkit.system.clearing import remove_empty, remove_tree
from tests.server_disk import keeping_what_is_open


@pytest.fixture
def deep(tmp_path):
    (tmp_path / "old/deep").mkdir(parents=True)
    (tmp_path / "old/deep/lock").write_text("")
    (tmp_path / "old/file").write_text("")
    return tmp_path / "old"


def test_a_folder_goes_with_all_in_it(deep):
    remove_tree(deep)
    assert not deep.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="which files are open, /proc tells")
def test_what_is_open_on_a_file_server_stays_and_is_no_error(deep, monkeypatch):
    keeping_what_is_open(monkeypatch)
    with (deep / "deep/lock").open():
        remove_tree(deep)
        assert [path.name for path in deep.rglob("*")] == ["deep", ".nfs" + "0" * 24]
        remove_empty(deep / "deep")
    remove_tree(deep)
    assert not deep.exists()


def test_what_others_write_meanwhile_is_told(deep):
    (deep / "file").unlink()
    for folder in (deep / "deep", deep):
        with pytest.raises(OSError, match="not empty") as refused:
            remove_empty(folder)
        assert refused.value.errno == errno.ENOTEMPTY
    (deep / "deep/lock").unlink()
    remove_empty(deep / "deep")
    assert not (deep / "deep").exists()
