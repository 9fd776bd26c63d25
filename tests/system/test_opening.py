"""Files that are there and cannot be opened, or are read in part, by libraries and by the system."""

import builtins
import errno
import io
import json
import os
import resource
import socket
from contextlib import contextmanager
from types import SimpleNamespace

import faiss
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from distillkit.embedding.looking import seen
from distillkit.errors import DiskFull, DiskLost, NotNow, SourceError
from distillkit.evals import _masks
from distillkit.importers.datacompdr import _Member, _unpacked
from distillkit.mining.index import opened
from distillkit.mining.whole import with_digest
from distillkit.pixels import decode, jpegs
from distillkit.pixels.pillow import size_of_file
from distillkit.pixels.tensors import decode_tensor
from distillkit.sources._places import Near
from distillkit.store.writing.stamps import read_stamped
from distillkit.students._weights import earlier_student
from distillkit.system.atomic import atomic_file, noticing_a_full_disk, write_json
from distillkit.system.opening import blame_the_file, numbers, tensors_of, there_by_now, unreachable
from distillkit.teachers._students import student_of
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State
from tests.training.test_checkpoint import made


class Tiny(nn.Module):
    """A student of nothing."""

    image_size, widths = None, {"image": 1}

    def forward(self, batch):
        return batch


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


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.EISDIR, errno.ENAMETOOLONG, None])
def test_what_is_a_fault_of_one_file(number):
    blame_the_file(ValueError("no picture") if number is None else OSError(number, os.strerror(number)), "a.png")


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EMFILE, "raise `ulimit -n`"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "make memory free"),
        (errno.ENOSPC, "make room"),
        *((number, "mount its disk again") for number in (errno.ESTALE, errno.ENODEV, errno.ENOTCONN)),
        *((number, "mount its disk again") for number in (errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN)),
    ],
)
def test_what_is_a_fault_of_the_machine(number, cure):
    told = rf"^a\.png: cannot be read now \({os.strerror(number).lower()}\), .*; .*{cure}.*run the same command again"
    with pytest.raises(NotNow, match=told):
        blame_the_file(OSError(number, os.strerror(number)), "a.png")


@contextmanager
def no_handle_left():
    """The system opens nothing more for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _embedded(path):
    tower = SimpleNamespace(
        decode=decode, look=lambda image: torch.zeros(3, 1, 1), embed=lambda pixels: pixels[:, 0, 0]
    )
    return list(seen(tower, [path], threads=1))


def _masked(path):
    return _masks._read(path)


def _imported(path):
    return _unpacked(_Member("a", path, ".npz", 0, 10, None))


READERS = [decode, decode_tensor, jpegs.opened, size_of_file, read_stamped, _embedded, _masked, _imported]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_whoever_reads_a_sample_blames_the_machine_where_no_file_can_be_opened(read, tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(NotNow, match=r"a\.png: cannot be read now \(too many open files\)"), no_handle_left():
        read(path)


@pytest.mark.parametrize("read", [decode, read_stamped, lambda path: Near(path.parent).part(path.name, 0, 99)])
def test_a_disk_that_goes_while_a_sample_is_read_is_no_damaged_sample(read, tmp_path, monkeypatch):
    """What was opened before does not say its name."""
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)

    class Gone(io.FileIO):
        def readinto(self, buffer):
            _fails(errno.ENOTCONN)

        def readall(self):
            _fails(errno.ENOTCONN)

    real = io.open

    def opened(place, mode="r", buffering=-1, *rest, **how):
        if str(place) != str(path):
            return real(place, mode, buffering, *rest, **how)
        raw = Gone(place)
        return raw if buffering == 0 else io.BufferedReader(raw)

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", opened)
    monkeypatch.setattr(os, "pread", lambda *_: _fails(errno.ENOTCONN))
    with pytest.raises(NotNow, match=r"a\.png: cannot be read now .*; mount its disk again"):
        read(path)


@pytest.mark.parametrize(
    ("cause", "cure"),
    [
        (OSError(errno.EMFILE, "too many"), "raise `ulimit -n`"),
        (OSError(errno.ECONNREFUSED, "refused"), "see that its server can be reached"),
        (socket.gaierror(socket.EAI_AGAIN, "no name"), "see that its server can be reached"),
        (ConnectionResetError(errno.ECONNRESET, "hung up"), None),  # as a server does that does not like one request
        (ValueError("an answer that is none"), None),
    ],
)
def test_a_server_to_which_there_is_no_line_is_no_fault_of_what_lies_there(cause, cure):
    """Its library has an error of its own, and an error of the system behind it."""
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("a library says no") from error
    except RuntimeError as error:
        found = unreachable(error, "s3://bucket/a.png: no")
    assert (found is None) == (cure is None)
    if found is not None:
        with pytest.raises(NotNow, match=rf"^s3://bucket/a\.png: no: cannot be read now, .*; {cure}, and run the same"):
            blame_the_file(found, "s3://bucket/a.png")
