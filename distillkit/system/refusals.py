"""What the libraries below fsspec raise, each its own errors, as errors of a disk."""

from __future__ import annotations

import errno

from distillkit.hidden import public
from distillkit.system.opening import unreachable


class NotWritable(OSError):
    """Nothing can be put there: there is no such bucket, or it is not ours to write."""


class NothingThere(OSError):
    """The file ends before the part that was asked for."""


def is_final(error: BaseException | None) -> bool:
    """Whether trying again is in vain: the file is not there, or is not ours to read."""
    if isinstance(error, FileNotFoundError) and type(error.__cause__).__module__.startswith(("aiohttp", "asyncio")):
        return is_final(error.__cause__)  # so says fsspec of a server that did not answer, too
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or isinstance(status, int):
        return status not in (408, 429) and (status is None or 400 <= status < 500)
    denied = isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError"
    return denied or getattr(error, "errno", None) in (errno.EINVAL, errno.EPERM)


def as_of_a_disk(error: Exception, where: str) -> OSError:
    """The same as an OSError that names `where`, without secrets of addresses."""
    if getattr(error, "status", None) == 416 or "InvalidRange" in f"{error} {error.__cause__}":
        return NothingThere(errno.EINVAL, "ends before", where)
    if isinstance(error, FileNotFoundError) and is_final(error):
        return FileNotFoundError(errno.ENOENT, "no such file", where)
    told = f"{where}: {public(' '.join(str(error).split())) or type(error).__name__:.300}"
    return OSError(told) if is_final(error) else unreachable(error, told) or OSError(told)
