"""A world in which every command works, to be spoilt and given back as it was."""

import fcntl
import io
import os
import shutil
import sys

import pytest

from distillkit import cli
from tests.cli.commands import make_world
from tests.conftest import draw


def call(*arguments):
    """The real command line in this process; anything but its own end is a traceback: (exit code, stdout, stderr)."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    before = sys.argv, sys.stdout, sys.stderr
    sys.argv, sys.stdout, sys.stderr = ["distillkit", *map(str, arguments)], *streams
    try:
        cli.main()
    except SystemExit as stopped:
        code = stopped.code or 0
    finally:
        sys.argv, sys.stdout, sys.stderr = before
    out, err = (stream.buffer.getvalue().decode() if not stream.closed else "" for stream in streams)
    return code, out, err


def without_locks(monkeypatch, number):
    """A file system whose locks answer with this error."""

    def refused(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(fcntl, "lockf", refused)


@pytest.fixture(scope="session")
def built(tmp_path_factory, teacher_folder):
    """The world where it is used, and a copy of it from when it was new."""
    folder = tmp_path_factory.mktemp("world") / "here"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_world(folder, draw(tmp_path_factory.mktemp("drawn") / "corpus", 40), teacher_folder, call)
    return folder, shutil.copytree(folder, folder.parent / "new")


@pytest.fixture
def world(built, tmp_path, monkeypatch):
    """The current folder, which is a world as it was made: stores know the places of their corpora."""
    folder, new = built
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(new, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("distillkit.demo.prepare._run", lambda root, quick, narrow, say: None)  # minutes, no new places
    return folder
