"""Locks of the system: theirs who got them, and of nobody else."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from distillkit.system.locks import lock_bytes, locked


@pytest.fixture(params=[errno.EACCES, errno.EAGAIN], ids=lambda error: errno.errorcode[error])
def refusing(monkeypatch, request):
    """A system that refuses every lock so."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)


def test_who_waits_and_is_refused_does_not_go_on_without_the_lock(tmp_path, refusing):
    with pytest.raises(OSError), locked(tmp_path / "lock"):
        raise AssertionError("went on")
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError):
        lock_bytes(file, tmp_path / "lock", 0, 1, wait=True)


def test_who_does_not_wait_is_told_that_another_has_it(tmp_path, refusing):
    with locked(tmp_path / "lock", wait=False) as ours:
        assert not ours
    with (tmp_path / "lock").open("ab") as file:
        assert not lock_bytes(file, tmp_path / "lock", 0, 1)


def test_a_lock_whose_file_cannot_be_removed_is_let_go(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patched, pytest.raises(OSError), locked(tmp_path / "lock", leave=False):
        patched.setattr(Path, "unlink", refuse)
    with locked(tmp_path / "lock", wait=False) as ours:
        assert ours
