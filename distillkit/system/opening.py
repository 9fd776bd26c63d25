"""Files as they are: what the system refuses is no absent file, and what it reads in part is no shorter one.

Libraries that open files by themselves tell of whatever keeps them from it that there is no such file.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from distillkit.errors import DiskLost, NotNow
from distillkit.system.fitting import MORE_THREADS, short_of_threads
from distillkit.system.wording import one_line

if TYPE_CHECKING:
    from torch import Tensor

# What the system answers for want of something that no file has of its own, and what helps.
_WANTS = {
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENFILE: "end programs that hold many files open, or raise fs.file-max",
    errno.ENOMEM: "make memory free",
    errno.ENOBUFS: "make memory free",
    errno.ENOSPC: "make room on that disk",  # as of a mount that keeps what is read
    errno.EDQUOT: "make room on that disk",
}
# ... and where the disk, the mount or the server is gone. EIO is not among them: one bad block is of one file.
_GONE = (
    *(errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT, errno.ECONNREFUSED),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
)

_NO_LINE = ("ConnectionTimeoutError", "ConnectTimeoutError")  # of aiohttp and of botocore


class Unreachable(OSError):
    """A server to which no line can be had, as the last of several tries says. `cause`: the system's number, if any."""

    cause: int | None = None


def unreachable(error: BaseException, told: str) -> Unreachable | None:
    """An error of a library as that, with what is told of it; None where a server answered, or hung up."""
    seen = set[int]()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        cause = one.errno if isinstance(one, OSError) else None
        unknown = isinstance(one, socket.gaierror)  # of its name no address is to be had; its numbers are others
        if unknown or cause in _WANTS or cause in _GONE or type(one).__name__ in _NO_LINE:
            found = Unreachable(told)
            found.cause = None if unknown else cause
            return found
        one = one.__cause__ or one.__context__
    return None


def blame_the_file(error: BaseException, place: object) -> None:
    """NotNow where it was the machine that kept the file at `place` from being read: whoever takes that for a fault of
    the file, as one that is absent, unreadable or damaged, leaves it out, and all others behind it.
    """
    cause = error.errno if isinstance(error, OSError) else None
    if isinstance(error, Unreachable):
        cure = _WANTS.get(error.cause or 0, "see that its server can be reached")
        raise NotNow(
            f"{error}: cannot be read now, for no fault of its own; {cure}, and run the same command again: nothing "
            "that was committed is lost"
        ) from error
    threads = short_of_threads(error)  # a library reads with several, as Arrow does
    if threads or cause in _WANTS or cause in _GONE:
        cure = MORE_THREADS if threads else _WANTS.get(cause or 0, "mount its disk again")
        why = "no thread can be started" if threads else os.strerror(cause or 0).lower()
        raise NotNow(
            f"{place}: cannot be read now ({why}), for no fault of its own; {cure}, and run the "
            "same command again: nothing that was committed is lost"
        ) from error


@contextmanager
def refused_is_not_absent(path: Path) -> Iterator[None]:
    """DiskLost where safetensors or FAISS cannot open a file that is there: who takes it for one that is gone, or for a
    damaged one, does without it, and loses what it holds. A file that they cannot map they do not name; this does.
    """
    try:
        yield
    except (FileNotFoundError, RuntimeError) as error:
        refused = isinstance(error, FileNotFoundError) or "could not open" in str(error)
        if refused and path.is_file():
            raise DiskLost(
                f"{path}: is there, but cannot be opened ({_reason(path)}); nothing was changed, run the same command "
                "again once it can"
            ) from error
        raise
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def there_by_now(folder: Path) -> Iterator[None]:
    """The same of what a library opens in a folder that was just filled; which of its files, it says itself."""
    try:
        yield
    except FileNotFoundError as error:
        if error.errno is not None:  # the system's own, which tells its file
            raise
        raise DiskLost(
            f"{folder}: was written, but cannot be opened ({one_line(error)}); run the same command again"
        ) from error


def _reason(path: Path) -> str:
    try:
        with path.open("rb"):
            return "for a moment"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Of a file of safetensors."""
    from safetensors.torch import load_file

    with refused_is_not_absent(path):
        return load_file(path)


def part(path: Path, start: int, length: int) -> bytes:
    """Bytes of a file; fewer where it ends before, and there alone: the system may read less than it is asked for."""
    with path.open("rb", buffering=0) as file:
        # A plan of another corpus must not make us ask for more memory than the file can fill.
        length = min(length, os.fstat(file.fileno()).st_size)
        found = os.pread(file.fileno(), length, start)
        while len(found) < length and (more := os.pread(file.fileno(), length - len(found), start + len(found))):
            found += more
        return found


def numbers(file: BinaryIO, dtype: Any, count: int) -> np.ndarray:
    """The next numbers of a file. OSError where there are fewer: of a disk that fails NumPy says nothing."""
    found = np.fromfile(file, dtype, count)
    if len(found) < count:
        raise OSError(errno.EIO, "it ends, or cannot be read, before all was read", str(file.name))
    return found
