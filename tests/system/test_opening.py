"""Files that are there and cannot be opened, or are read in part, by libraries and by the system."""

import errno
import json
import os

import faiss
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from distillkit.errors import DiskFull, DiskLost, SourceError
from distillkit.mining.index import opened
from distillkit.mining.whole import with_digest
from distillkit.sources._places import Near
from distillkit.students._weights import earlier_student
from distillkit.system.atomic import atomic_file, noticing_a_full_disk, write_json
from distillkit.system.opening import numbers, tensors_of, there_by_now
from distillkit.teachers._students import student_of
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State
from tests.training.test_checkpoint import made


class Tiny(nn.Module):
    """A student of nothing."""

    widths = {"image": 1}  # noqa: RUF012


@pytest.fixture
def too_many(monkeypatch):
    """What safetensors says when the system opens no more files."""
    monkeypatch.setattr("safetensors.torch.safe_open", _none)
    monkeypatch.setattr(checkpoint, "safe_open", _none)


def _none(path, *_, **__):
    raise FileNotFoundError(f"No such file or directory: {path}")


def test_tensors_that_cannot_be_opened_are_not_absent(tmp_path, too_many):
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(
        DiskLost, match=r"a\.safetensors: is there, but cannot be opened \(.*\); .*run the same command"
    ):
        tensors_of(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError):
        tensors_of(tmp_path / "b.safetensors")


def test_tensors_that_cannot_be_mapped_are_named(tmp_path, monkeypatch):
    """Found by `make reliability`: student export, EACCES at mmap no. 4; the line named the folder of the export."""

    def unmapped(path, *_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("safetensors.torch.safe_open", unmapped)
    with pytest.raises(OSError, match=r"Cannot allocate memory: '.*a\.safetensors'"):
        tensors_of(tmp_path / "a.safetensors")


def test_a_checkpoint_that_cannot_be_opened_is_not_set_aside(tmp_path, too_many):
    """Else a run would go on from one before it, or begin anew."""
    checkpoint.save(tmp_path, State.of(7, *made()), keep=1)
    with pytest.raises(DiskLost, match=r"is there, but cannot be opened"):
        checkpoint.set_damaged_aside(tmp_path, print)
    assert [path.name for path in tmp_path.iterdir()] == ["00000007"]


def test_an_index_that_cannot_be_opened_is_not_damaged(tmp_path, monkeypatch):
    """It is the work of hours, and its user would be told to delete it."""

    def refusing(path):
        raise RuntimeError(f"Error in faiss: could not open {path} for reading: Too many open files")

    (tmp_path / "index.faiss").write_bytes(b"")
    write_json(tmp_path / "index.json", with_digest({}, tmp_path / "index.faiss"))
    monkeypatch.setattr(faiss, "read_index", refusing)
    with pytest.raises(DiskLost, match=r"index\.faiss: is there, but cannot be opened"):
        opened(tmp_path, "exact", None, {}, print)


@pytest.mark.parametrize("most", [1, 7])
def test_what_is_read_in_part_is_read_on(tmp_path, monkeypatch, most):
    """A network file system answers with less than it was asked for; half an image is a damaged one."""
    (tmp_path / "some").write_bytes(bytes(range(100)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, count, start: real(handle, min(count, most), start))
    place = Near(tmp_path)
    assert place.part("some", 10, 50) == bytes(range(10, 60))
    assert place.part("some", 90, 50) == bytes(range(90, 100)) and place.part("some", 200, 5) == b""


def test_a_disk_that_fails_in_the_middle_is_told(tmp_path, monkeypatch):
    (tmp_path / "some").write_bytes(bytes(100))
    real = os.pread

    def failing(handle, count, start):
        if start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(handle, 10, 0)

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(SourceError, match=r"some: Input/output error"):
        Near(tmp_path).part("some", 0, 50)


def test_numbers_that_the_disk_does_not_give_are_told(tmp_path):
    """NumPy says nothing where reading fails, as reading this file at its start does."""
    with open("/proc/self/mem", "rb", buffering=0) as file, pytest.raises(OSError, match="mem"):  # noqa: PTH123
        numbers(file, "u1", 3)
    (tmp_path / "some").write_bytes(b"abc")
    with (tmp_path / "some").open("rb") as file:
        assert numbers(file, "u1", 2).tolist() == [97, 98]
        with pytest.raises(OSError, match="some"):
            numbers(file, "u1", 2)


def _fails(number, name=None):
    raise OSError(number, os.strerror(number), name)


def test_the_file_that_is_told_is_the_one_that_failed(tmp_path):
    """What is written is read from somewhere; a temporary name is nothing to a user."""
    target, source = tmp_path / "target", tmp_path / "source"
    for number, told in ((errno.ENOSPC, DiskFull), (errno.EIO, DiskLost)):
        with pytest.raises(told, match=f"^{source}: "), noticing_a_full_disk(target):
            _fails(number, str(source))
        with pytest.raises(told, match=f"^{target}: "), atomic_file(target) as file:
            _fails(number, file.name)
        with pytest.raises(told, match=f"^{target}: "), noticing_a_full_disk(target):
            _fails(number, "target")  # relative to an open folder
        with pytest.raises(told, match=f"^{target}: "), noticing_a_full_disk(target):
            _fails(number)


def test_a_read_that_fails_tells_of_what_was_read(tmp_path):
    """The system does not say which file that was."""
    target, source = tmp_path / "target", tmp_path / "source"
    source.write_bytes(b"1")
    with pytest.raises(DiskLost, match=f"^{source}: "), atomic_file(target), source.open("rb") as taken:
        assert taken
        _read(taken)


def _read(file):
    _fails(errno.EIO)


@pytest.mark.parametrize("opened_by", [student_of, lambda folder: earlier_student(f"run:{folder}")])
def test_a_run_that_cannot_be_opened_is_not_to_be_trained_anew(tmp_path, too_many, opened_by):
    """As teacher, and as what another student begins with: it is there, whatever keeps it from being opened now."""
    recipe = {"student": {"kind": "tests.system.test_opening:Tiny"}}
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": recipe, "identity": {}}))
    (tmp_path / "student.json").write_text("{}")
    (tmp_path / "student.safetensors").write_bytes(b"some")
    with pytest.raises(DiskLost, match=r"is there, but cannot be opened"):
        opened_by(tmp_path)


def test_what_a_library_cannot_open_of_a_new_folder_is_one_line(tmp_path):
    """It says that there is no such file, and has no number by which the command line knows what the system refuses."""
    told = r"was written, but cannot be opened \(No such file .*\); run the same"
    with pytest.raises(DiskLost, match=told), there_by_now(tmp_path):
        raise FileNotFoundError(f"No such file or directory: {tmp_path}/model.safetensors")
    with pytest.raises(FileNotFoundError), there_by_now(tmp_path):
        (tmp_path / "absent").read_bytes()
