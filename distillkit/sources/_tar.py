"""The headers of a tar that a stranger made. Nothing is unpacked, and a tar that is cut off does not pass for whole."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterator
from typing import BinaryIO

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.system.opening import blame_the_file

_BLOCK = 512
_PIECE = 2**20
# Far beyond any caption with its facts; what is larger would only fill the memory.
LARGEST_TEXT = 4 * 2**20


def members(file: BinaryIO, size: int, account: Account, where: str) -> Iterator[tarfile.TarInfo]:
    """Header after header of a tar of that many bytes, which may be read in between; then, where tars were put one
    behind the other, of those behind its end mark. What lies there and is no tar is counted. `where`: its place.

    SourceError, after the last whole member, where one is damaged or cut off.
    """
    start: int | None = 0
    while start is not None:
        end = yield from _one(file, start, size, where)
        if start and end == start:
            account.passed["tail(s) of tars that are no tar"] += 1
            return
        start = _behind(file, end, where)


def _one(file: BinaryIO, start: int, size: int, where: str) -> Generator[tarfile.TarInfo, None, int]:
    """The headers of the tar that begins at `start`; returns where its end mark should be."""
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                # A negative size would send the reader backwards, for ever.
                if member.size < 0 or (member.isreg() and member.offset_data + member.size > size):
                    raise SourceError(f"cut off or damaged within its member {member.name!r:.200}")
                yield member
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            return tar.offset
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        blame_the_file(error, where)
        raise SourceError(f"cannot be read as an uncompressed tar ({error})") from error


def _behind(file: BinaryIO, end: int, where: str) -> int | None:
    """Where something lies behind the end mark, which is a block of zeros; None where there are but more of them."""
    try:
        file.seek(end)
        block = file.read(_BLOCK)
        # Where a header is damaged, tarfile ends as if the tar ended there; a whole tar ends with blocks of zeros.
        if len(block) < _BLOCK or any(block):
            raise SourceError(f"cut off or damaged at byte {end}")
        at = end + _BLOCK
        while piece := file.read(_PIECE):
            if rest := piece.lstrip(b"\0"):
                return at + (len(piece) - len(rest)) // _BLOCK * _BLOCK
            at += len(piece)
    except OSError as error:
        blame_the_file(error, where)
        raise SourceError(f"cannot be read behind byte {end} ({error})") from error
    return None


def trouble(member: tarfile.TarInfo, largest: int) -> str | None:
    """Why a member is no plain file of at most `largest` bytes below the archive's folder; None where it is."""
    name = member.name
    if name.startswith("/") or ".." in name.split("/"):
        return f"the member {name!r} leaves its archive; refused"
    if not member.isreg() or member.sparse is not None:
        kind = "a link" if member.islnk() or member.issym() else "no plain file"
        return f"the member {name!r} is {kind}; refused"
    return f"the member {name!r} has {member.size} bytes; refused" if member.size > largest else None
