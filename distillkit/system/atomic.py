"""Files and folders that are complete or not there, whatever happens to the process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from distillkit.errors import DiskFull, DiskLost, DistillkitError, cure_of, in_the_end, place_of
from distillkit.system.temporary import filling, held, locked_there, temporary, tidy

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What disks answer that fail or are unplugged, file servers that went away, and mounts that can only be read now.
_LOST = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.EROFS, errno.EHOSTDOWN)
SET_ASIDE = ".before-"
# What systems answer of folders where their disk knows no fsync of them ...
_UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
# ... and where nothing can be asked of a folder that is not ours, as it may not be read either.
_NO_SYNC = (errno.EACCES, errno.EPERM, *_UNKNOWN)
_settled = set[str]()  # folders whose own names, and those of their parents, this process has made durable


@contextmanager
def noticing_a_full_disk(path: Path) -> Iterator[None]:
    """DiskFull when writing at `path` fails for want of space, DiskLost when the disk is gone; other errors name it.

    What they tell of is the file that failed, which may be one that is read for it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"{place_of(error, path, reading=False)}: no space left on the disk; what is committed is kept, make "
                "room and run the same command again"
            ) from error
        if error.errno in _LOST:
            place = place_of(error, path, reading=True)
            # Who was lent a folder cannot mount it, nor was it ever another.
            cure = cure_of([place], "mount it to be written, or name another place,")
            cure = "mount it again" if error.errno != errno.EROFS else cure
            raise DiskLost(
                f"{place}: the disk does not answer ({error.strerror}); what is "
                f"committed is kept, {cure} and run the same command again"
            ) from error
        # Not all calls say which file it was. What a library told in its own words has no number: with a name beside it
        # the words would be lost, as those of a server that refuses an object.
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def make_folder(folder: Path, within: Path | None = None) -> None:
    """Make `folder` and its parents, durably: a folder that a power cut takes back takes its files with it.

    `within`: a parent that others may move away meanwhile. It is not made anew, DiskLost says that it is gone.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    if within in missing:
        raise DiskLost(
            f"{in_the_end(within)}: it is gone (a mount that was lost, or moved away by another process?); bring it "
            "back, or run the same command again: what was committed is kept"
        )

    def undo() -> None:
        for place in missing:
            place.rmdir()

    for place in reversed(missing or [folder]):
        place.mkdir(exist_ok=True)
    with or_undone(undo):
        for place in missing:
            sync(place.parent)
    settle(missing[-1].parent if missing else folder)
    _settled.update(str(place.absolute()) for place in missing)


def settle(folder: Path) -> None:
    """Make the names of a folder and of its parents durable, once: who made them may have been killed before they were.

    Else a process that finds these folders and writes into them would report files as kept that go with the folders in
    a power cut.
    """
    if str(folder.absolute()) in _settled:
        return
    for place in (there := folder.resolve(), *there.parents):
        if str(place) not in _settled and place != place.parent:
            keep_names(place.parent)
            _settled.add(str(place))
    _settled.add(str(folder.absolute()))


def keep_names(folder: Path) -> None:
    """Make durable the names of the files in a folder, before anybody relies on these files."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            error.filename = str(folder)  # fsync does not say it
            raise


def may_write(path: Path) -> bool:
    """Whether a file can be written at `path`: not where a disk is mounted to be read, or it is another user's."""
    place = path if path.exists() else path.parent
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def remove_file(path: Path, ours: Callable[[], object] | None = None) -> None:
    """Remove a file, if it is there, durably: what a power cut brings back would speak of bytes that are others now.

    `ours`: asked when it has no name any more; where it raises, the file has its name again.
    """
    if not path.exists():
        return
    going = temporary(path)
    with noticing_a_full_disk(path), locked_there(path) as there, held(going):
        if not there:
            return
        path.replace(going)
        with or_undone(lambda: going.replace(path)):
            if ours is not None:
                ours()
            sync(path.parent)
        going.unlink()
        sync(path.parent)


@contextmanager
def or_undone(undo: Callable[[], object]) -> Iterator[None]:
    """Where an fsync fails, nobody knows what the disk has, and a second one that succeeds says nothing of it.

    So what was to become durable is taken back: the next run does it again, and believes nothing.
    https://wiki.postgresql.org/wiki/Fsync_Errors
    """
    try:
        yield
    except (OSError, DistillkitError):
        with suppress(OSError):
            undo()
        raise


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's renames, durable.

    Some network and FUSE mounts know no fsync of folders. They keep names in their own way, or nobody can: to refuse
    them would help no one, and databases pass it over as well.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNKNOWN or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path, *, within: Path | None = None) -> Iterator[BinaryIO]:
    """Write `path` through a temporary name: on leaving it is fsynced and renamed, on an error it is removed.

    `within`: a folder above it where others write, too, and which they may move away: it is not made anew, see
    `make_folder`. The temporary name is one that nobody else has, and what dead processes left under such names goes;
    deep within, where there may be a million files, whoever writes there sees to that. DiskFull when there is no space.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with noticing_a_full_disk(path):
        make_folder(path.parent, within)
        if within in (None, path.parent):
            tidy(path)
        with filling(path) as (partial, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            new = not path.exists()
            partial.replace(path)
        with or_undone(lambda: path.unlink() if new else None):
            sync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, which nobody else has; on leaving its files are fsynced and it is renamed
    to `path`. What dead processes left under such names goes. DiskFull when there is no space for it.
    """
    with noticing_a_full_disk(path):
        tidy(path)
        with _new_folder(path) as partial:
            try:
                yield partial
                for entry in (partial, *partial.rglob("*")):
                    sync(entry)
                partial.rename(path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        with or_undone(lambda: shutil.rmtree(path)):
            sync(path.parent)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    while True:
        partial = temporary(path, folder=True)
        make_folder(partial)
        with locked_there(partial) as there:
            if there:  # else it was taken for a dead process's, before it was locked
                yield partial
                return


def set_aside(path: Path, mark: str) -> Path:
    """Rename `path` to `path.before-mark`, numbered where that is taken; returns the new place. Nothing is deleted."""
    names = (f"{path.name}{SET_ASIDE}{mark}{f'-{number}' if number else ''}" for number in count())
    aside = next(place for place in map(path.with_name, names) if not place.exists())
    path.rename(aside)
    with or_undone(lambda: aside.rename(path)):
        sync(path.parent)
    return aside


def write_json(path: Path, value: Any, *, within: Path | None = None) -> None:
    """Write `value` as readable JSON, atomically and with sorted keys, so that equal values are equal files."""
    with atomic_file(path, within=within) as file:
        file.write(as_json(value))


def as_json(value: Any) -> bytes:
    """What `write_json` makes of a value."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parsed_json(content: str | bytes) -> Any:
    """The value of JSON that anybody may have written. ValueError for what is none, or is nested beyond all sense."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
