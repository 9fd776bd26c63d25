"""Names that files and folders have until they are whole: of each process its own, and nothing of dead ones stays.

    NAME.0123abcd.partial     a file that is to be NAME
    .NAME.0123abcd.partial    such a folder

Who fills one holds a lock on it, which ends with the process, however that ends. So the next who writes NAME knows what
is left by nobody. The lock of a folder is known on its own machine alone: of those who share a disk, their callers
keep folders apart. What an older version left, as NAME.partial, has no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from distillkit.errors import NoLocks
from distillkit.system.locks import is_at, lock_file

TEMPORARY = ".partial"
_MOST = 255  # bytes of a name
_OWN = re.compile(rf".+\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}")
_live = set[Path]()  # what this process fills, also where there are no locks


def temporary(path: Path, *, folder: bool = False) -> Path:
    """A new name beside `path`, for what is to become `path`; no other process uses it."""
    return path.with_name(f"{'.' * folder}{stem(path)}.{token_hex(4)}{TEMPORARY}")


def stem(path: Path) -> str:
    """The name of `path`, or as much of it as leaves room for what is put around it."""
    room = _MOST - len(f"..{'0' * 8}{TEMPORARY}")
    name = os.fsencode(path.name)
    return path.name if len(name) <= room else name[:room].decode(errors="ignore")


@contextmanager
def filling(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file, open, under a temporary name; on leaving it is removed, unless it was renamed before."""
    while True:
        place = temporary(path)
        try:
            with held(place), place.open("xb") as file:
                _lock(file, place)
                if is_at(file.fileno(), place):  # else it was taken for a dead process's, before it was locked
                    yield place, file
                    return
        finally:
            place.unlink(missing_ok=True)


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Note that this process fills `place`: without locks at least its own threads know."""
    _live.add(place)
    try:
        yield
    finally:
        _live.discard(place)


@contextmanager
def locked_there(place: Path) -> Iterator[bool]:
    """Hold the lock of what is at `place`, a file or a folder; gives whether it is there."""
    try:
        handle = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        with held(place):
            _lock(handle, place)
            yield is_at(handle, place)
    finally:
        os.close(handle)


def _lock(file: int | BinaryIO, place: Path) -> None:
    """Lock it where that can be done. Elsewhere nobody removes it, as that takes the same lock."""
    with suppress(NoLocks):
        try:
            lock_file(file, place, fcntl.LOCK_EX, wait=False)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise


def tidy(path: Path) -> None:
    """Remove what dead processes left of what was to be `path`; what a live one fills stays."""
    for place in left(path):
        if place not in _live:
            with suppress(OSError, NoLocks):  # gone by now, or not ours to remove: then it lies about
                _remove(place)


def tidy_below(folder: Path, *, folders: bool = False) -> None:
    """The same, also for every file below `folder`, in which nobody writes any more: after a disk failed, names that
    were removed may be back. `folders`: for folders, too, where the caller keeps out other machines, which may fill
    them.
    """
    tidy(folder)
    for place in list(folder.rglob(f"*{TEMPORARY}")):
        if _OWN.fullmatch(place.name) and place not in _live and (folders or place.is_file()):
            with suppress(OSError, NoLocks):
                _remove(place)


def left(path: Path) -> list[Path]:
    """All that was begun to be `path` and is not yet, by whomever."""
    name, end = re.escape(stem(path)), re.escape(TEMPORARY)
    ours = re.compile(rf"\.?{name}\.[0-9a-f]{{8}}{end}|{re.escape(path.name)}{end}")
    try:
        return [place for place in path.parent.iterdir() if ours.fullmatch(place.name)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _remove(place: Path) -> None:
    # To lock a file of a file server it must be open for writing, which a folder cannot be.
    handle = os.open(place, os.O_RDONLY if place.is_dir() else os.O_RDWR)
    try:
        if not lock_file(handle, place, fcntl.LOCK_EX, wait=False) or not is_at(handle, place):
            return
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink()
    finally:
        os.close(handle)
