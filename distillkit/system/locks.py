"""Locks of the operating system, which end with the process that holds them, however it ends.

Not every file system has them (some FUSE and network mounts, Lustre without the option `flock`). There nobody can be
kept apart, which is said at once, as no other process could ever let go: wait for none that does not exist.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from distillkit.errors import NoLocks

VARIABLE = "DISTILLKIT_LOCKS"
# What systems answer where a lock is another's.
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# ... and where there are none.
_ABSENT = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def locked(
    path: Path, *, wait: bool = True, leave: bool = True, waits: Callable[[], object] | None = None
) -> Iterator[bool]:
    """Hold the lock file `path` (made if need be), one process or thread at a time; gives whether it is ours.

    Without `wait` it is False where another has it; else `waits` is called before it waits for that one. Without
    `leave` the file is removed in the end. NoLocks where the file system has none.
    """
    handle, ours = _taken(path, wait and waits is None)
    if waits is not None and wait and not ours:
        os.close(handle)
        waits()
        handle, ours = _taken(path, wait)
    try:
        yield ours
    finally:
        try:
            if ours and not leave:
                path.unlink(missing_ok=True)  # while it is ours: who waits for it finds that it is gone, makes another
        finally:
            os.close(handle)


def _taken(path: Path, wait: bool) -> tuple[int, bool]:
    """The lock file, open, and whether it is ours: a file that was removed meanwhile keeps nobody out."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            ours = lock_file(handle, path, fcntl.LOCK_EX, wait=wait)
            if not ours or is_at(handle, path):
                return handle, ours
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether what is open as `handle` still lies at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def lock_file(file: int | BinaryIO, path: Path, kind: int, *, wait: bool = True) -> bool:
    """Lock an open file, `kind` LOCK_EX or LOCK_SH, until it is closed; gives whether it is ours. NoLocks."""
    if _switched_off():
        return True
    try:
        fcntl.flock(file, kind | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return _refused(error, path, wait)
    return True


def lock_bytes(file: BinaryIO, path: Path, first: int, length: int, *, wait: bool = False) -> bool:
    """Lock bytes of an open file for this process (length 0: all that follow); gives whether they are ours. NoLocks."""
    if _switched_off():
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), length, first)
    except OSError as error:
        return _refused(error, path, wait)
    return True


def unlock_bytes(file: BinaryIO, first: int, length: int) -> None:
    """Let go of bytes that `lock_bytes` got."""
    if not _switched_off():
        fcntl.lockf(file, fcntl.LOCK_UN, length, first)


def _switched_off() -> bool:
    return os.environ.get(VARIABLE, "").lower() in ("off", "no", "0")


def _refused(error: OSError, path: Path, wait: bool) -> bool:
    """False where another has the lock; NoLocks where nobody can; any other error as it is.

    Who waits gets the lock or an error: nobody asks afterwards whether it is theirs.
    """
    if error.errno in _TAKEN and not wait:
        return False
    if error.errno in _ABSENT:
        raise NoLocks(
            f"{path.parent}: this file system has no locks ({os.strerror(error.errno or 0)}), so two processes could "
            f"write over each other; choose a place on a disk that has them, or, if no other process works there, set "
            f"{VARIABLE}=off"
        ) from error
    raise error
