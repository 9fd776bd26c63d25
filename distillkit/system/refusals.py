"""What the libraries below fsspec raise, each its own errors, as errors of a disk."""

from __future__ import annotations

import errno

from distillkit.hidden import public
from distillkit.system.opening import unreachable

_AGAIN = ("NoSuchUpload",)  # it came in parts, and the server has thrown these away: all of it is put anew
_ABSENT = {"NoSuchBucket": "no such bucket", "NoSuchVersion": "no such version of this file"}
_SIGN_IN = "sign in again, or bring new keys"
_CURES = {
    "RequestTimeTooSkewed": "set this machine's clock",
    **dict.fromkeys(("ExpiredToken", "TokenRefreshRequired", "InvalidToken"), _SIGN_IN),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), "give the keys that this server knows"),
}


class NotWritable(OSError):
    """Nothing can be put there: there is no such bucket, or it is not ours to write."""


class NothingThere(OSError):
    """The file ends before the part that was asked for."""


def code_of(error: BaseException | None) -> str | None:
    """What an S3 server calls its refusal, such as NoSuchBucket: s3fs makes the same error of several of these.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    while error is not None:
        told = getattr(error, "response", None)
        code = (told.get("Error") or {}).get("Code") if isinstance(told, dict) else None
        if code is not None:
            return str(code)
        error = error.__cause__
    return None


def cure_of(error: BaseException | None) -> str:
    """What to do about an error for which trying again is in vain, where something was to be put."""
    denied = isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403)
    first = _CURES.get(code_of(error) or "", "get the right to write there" if denied or _has_no_key(error) else "")
    return f"{first}, or name another place" if first else "name another place"


def _has_no_key(error: BaseException | None) -> bool:
    return type(error).__name__ == "NoCredentialsError"


def is_final(error: BaseException | None) -> bool:
    """Whether trying again is in vain: the file is not there, or is not ours to read."""
    if code_of(error) in _AGAIN:
        return False
    if isinstance(error, FileNotFoundError) and type(error.__cause__).__module__.startswith(("aiohttp", "asyncio")):
        return is_final(error.__cause__)  # so says fsspec of a server that did not answer, too
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or isinstance(status, int):
        return status not in (408, 429) and (status is None or 400 <= status < 500)
    denied = isinstance(error, PermissionError) or _has_no_key(error)
    return denied or getattr(error, "errno", None) in (errno.EINVAL, errno.EPERM)


def as_of_a_disk(error: Exception, where: str) -> OSError:
    """The same as an OSError that names `where`, without secrets of addresses."""
    if getattr(error, "status", None) == 416 or "InvalidRange" in f"{error} {error.__cause__}":
        return NothingThere(errno.EINVAL, "ends before", where)
    if isinstance(error, FileNotFoundError) and is_final(error):
        return FileNotFoundError(errno.ENOENT, _ABSENT.get(code_of(error) or "", "no such file"), where)
    told = f"{where}: {public(' '.join(str(error).split())) or type(error).__name__:.300}"
    return OSError(told) if is_final(error) else unreachable(error, told) or OSError(told)
