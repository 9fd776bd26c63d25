"""The disk that stores behind URLs take here: for room, what was used least recently goes, unless it is in use.

Whoever uses a file holds a shared lock on it. On Linux a mapping holds it as well, until it is unmapped, so no file
need stay open; elsewhere a file that goes while it is mapped stays readable until then.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from weakref import WeakSet

from distillkit.errors import StoreError
from distillkit.recipe import memory_bytes
from distillkit.store.format.classes import FILE_NAME as CLASSES
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.system.atomic import noticing_a_full_disk
from distillkit.system.locks import lock_file, locked
from distillkit.system.paths import cache_dir

VARIABLE = "DISTILLKIT_CACHE_SIZE"
ARRIVING = ".arriving"
_SMALL = {"manifest.json", "remote.json", CLASSES, LOG}  # without them no row means anything
_PATIENCE = 60  # seconds, until others let go of what they use


class Holder(Protocol):
    """Who holds files of the cache for longer than it reads them."""

    def give_back(self) -> bool:
        """Let go of the one that was used least recently; False where all are being read."""


holders: WeakSet[Holder] = WeakSet()  # of this process


def folder() -> Path:
    """Below it lie the mirrors of stores behind URLs, and the places of their writers."""
    return cache_dir() / "remote"


def limit(kept: int | None = None) -> int:
    """How many bytes the cache may have: as the variable says, or half of what the disk has beside other things."""
    said = os.environ.get(VARIABLE)
    if not said:
        disk = os.statvfs(_existing(folder()))
        return (disk.f_bavail * disk.f_frsize + (_kept() if kept is None else kept)) // 2
    try:
        return memory_bytes(said)
    except ValueError as error:
        raise StoreError(f"{VARIABLE}={said}: {error}") from error


@contextmanager
def arriving(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file to fill, which is `path` on leaving. Before, room is made for its `size` bytes.

    StoreError where there can be none.
    """
    partial = path.with_name(f"{path.name}{ARRIVING}")
    with noticing_a_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _begun(partial, size) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


def hold(path: Path) -> BinaryIO:
    """A file of the cache, which stays until this is closed and no map of it is left; FileNotFoundError if it went."""
    file = path.open("rb")
    lock_file(file, path, fcntl.LOCK_SH)
    if not os.fstat(file.fileno()).st_nlink:
        file.close()
        raise FileNotFoundError(path)
    used(path, time.time())
    return file


def used(path: Path, when: float) -> None:
    """Note when a file was used, in seconds since 1970."""
    with suppress(OSError):  # a cache that is not ours to write is not ours to clear, either
        os.utime(path, (when, when))


def _begun(partial: Path, size: int) -> BinaryIO:
    waited = 0
    while waited < _PATIENCE:
        with locked(folder() / ".room.lock"):
            kept = _kept()
            # What we hold longest goes before what has just come and is not held yet.
            gave = kept + size > limit(kept) and any([holder.give_back() for holder in list(holders)])  # noqa: C419
            if _has_room(size):
                file = partial.open("wb")
                lock_file(file, partial, fcntl.LOCK_EX)
                file.truncate(size)  # so others count it
                return file
        if size > limit():
            break
        if not gave:
            time.sleep(1)
            waited += 1
    raise StoreError(
        f"{folder()}: no room for a file of {size:,} bytes; the cache may have {limit():,}, and what is in it is in "
        f"use; set {VARIABLE} higher, such as 200GB, or DISTILLKIT_CACHE to a larger disk"
    )


def _has_room(size: int) -> bool:
    """Whether that much fits in, once what was used least recently has gone."""
    found = sorted(_files())
    kept = sum(length for _, length, _ in found)
    most = limit(kept)
    for _, length, path in found:
        if kept + size <= most:
            break
        if _gone(path):
            kept -= length
    return kept + size <= most


def _kept() -> int:
    return sum(length for _, length, _ in _files())


def _files() -> Iterator[tuple[float, int, Path]]:
    """What may go: when it was last used, its bytes, and where it is."""
    for at, folders, names in os.walk(folder()):
        folders[:] = [name for name in folders if not name.startswith("writing-") and not name.endswith(".steps")]
        for name in names:
            path = Path(at, name)
            if name in _SMALL or name.endswith(".lock"):
                continue
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path


def _gone(path: Path) -> bool:
    """Take a file away, if nobody uses it."""
    try:
        with path.open("r+b") as file:
            if not lock_file(file, path, fcntl.LOCK_EX, wait=False):
                return False
            path.unlink()
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    return True


def _existing(place: Path) -> Path:
    return place if place.exists() else _existing(place.parent)
