"""A disk that is nearly full, by a limit of the system: no file of this process may become larger. And one
that can only be read.
"""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def no_file_above(most: int) -> Iterator[None]:
    """A write beyond it fails, as on a full disk: of Python's, a library's or a child's. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def only_read(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    """As if what lies below `disk` were mounted to be read. Only what Python opens is kept from writing there."""
    open_path, open_handle, asked = Path.open, os.open, os.access

    def refuse(path, writes):
        if writes and isinstance(path, str | Path) and Path(path).absolute().is_relative_to(disk):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def path_opens(path, mode="r", *more, **options):
        refuse(path, not mode.startswith("r") or "+" in mode)
        return open_path(path, mode, *more, **options)

    def handle_opens(path, flags, *more, **options):
        refuse(path, flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return open_handle(path, flags, *more, **options)

    def access(path, mode, **options):
        return asked(path, mode) and (mode != os.W_OK or not Path(path).absolute().is_relative_to(disk))

    monkeypatch.setattr(Path, "open", path_opens)
    monkeypatch.setattr(os, "open", handle_opens)
    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "supports_effective_ids", {access})
