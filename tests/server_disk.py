"""A disk that keeps what is open, as file servers (NFS) and FUSE do: a file that is removed meanwhile gets another name
in its folder, which then cannot go. Of this process alone, and what it closes later stays.
"""

import os
from itertools import count
from pathlib import Path

import pytest


def keeping_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `unlink` and `remove` of Python see it."""
    real, numbers = os.unlink, count()

    def unlink(path, *, dir_fd=None):
        folder = Path.cwd() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
        file = (folder / os.fsdecode(path)).absolute()
        if file.name.startswith(".nfs") or str(file) not in _open():
            real(path, dir_fd=dir_fd)
        else:
            file.rename(file.with_name(f".nfs{next(numbers):024x}"))

    monkeypatch.setattr(os, "unlink", unlink)


def _open() -> set[str]:
    return {str(handle.readlink()) for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()}
