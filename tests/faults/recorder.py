"""Everything that a job does to a folder, as a list of events.

Names are followed by standing in the way of the calls that change them; each is one event, with a lock around it.
Bytes are not followed but looked at: before and after each such call the whole folder is read, so what a mapping,
Arrow, zarr, FAISS or sendfile wrote is seen like everything else. A name that has changed with no call that we know of
is an error, so a recording cannot miss one.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.faults.events import ROOT, Doubted, Event, Gone, Holds, Moved, Named, Promised, Synced

WAYS = ("sync", "keep_names")  # of asking, in atomic.py
Interruption = Literal["fails", "killed"]
_PACKAGE = Path(__file__).parents[2] / "distillkit"


class Killed(BaseException):
    """The process is no more. The machine is: it has all that was written, and may still lose what was not synced."""


class Recorder:
    """The events below `root`, while `recording`. What lies there at the beginning is durable: see `before`.

    `interrupted`: the number (from 1) of an fsync that `how` happens to, once.
    """

    def __init__(self, root: Path, interrupted: int = 0, how: Interruption = "fails"):
        self._until, self._how = interrupted, how
        self.root = Path(os.path.realpath(root))
        self.events: list[Event] = []
        self._lock = threading.RLock()
        self._names: dict[tuple[int, str], int] = {}
        self._inodes: dict[int, int] = {self.root.stat().st_ino: ROOT}  # of what is there now
        self._held: dict[int, bytes] = {}
        self._next = ROOT + 1
        self._look()
        self.before, self.events = self.events, []

    def promise(self, what: str, kept: Callable[[Path], None]) -> None:
        with self._lock:
            self._look()
            self.events.append(Promised(what, kept))

    # Looking.

    def _look(self) -> None:
        """Names that came by opening, and bytes, since the last look."""
        there: set[tuple[int, str]] = set()
        self._look_into(self.root, ROOT, there)
        lost = self._names.keys() - there
        if lost:
            raise RuntimeError(f"names went away by a call that is not recorded: {sorted(lost)}")

    def _look_into(self, place: Path, folder: int, there: set[tuple[int, str]]) -> None:
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            key, info = (folder, entry.name), entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
                raise RuntimeError(f"{entry.path}: neither a file nor a folder")
            there.add(key)
            node = self._inodes.get(info.st_ino)
            if key not in self._names:
                if node is not None and (not self.events or info.st_nlink < 2):
                    raise RuntimeError(f"{entry.path}: came by a call that is not recorded")
                node = self._new(info.st_ino) if node is None else node
                self._names[key] = node
                self.events.append(Named(*key, node, entry.is_dir()))
            elif node != self._names[key]:
                raise RuntimeError(f"{entry.path}: replaced by a call that is not recorded")
            assert node is not None
            if entry.is_dir():
                self._look_into(Path(entry.path), node, there)
            else:
                data = _read(entry.path)
                if self._held.get(node, b"") != data:
                    self._held[node] = data
                    self.events.append(Holds(node, data))

    def _new(self, inode: int) -> int:
        node, self._next = self._next, self._next + 1
        self._inodes[inode] = node
        return node

    # Calls.

    def _key(self, path: Any, dir_fd: int | None) -> tuple[int, str] | None:
        """Node of the folder and name of what a call speaks of; None where it is not below the root."""
        if isinstance(path, int):
            return None
        start = str(Path(f"/proc/self/fd/{dir_fd}").readlink()) if dir_fd is not None else ""
        place = Path(os.path.abspath(os.path.join(start, os.fsdecode(path))))  # noqa: PTH100, PTH118
        place = Path(os.path.realpath(place.parent)) / place.name
        if self.root not in place.parents:
            return None
        node = ROOT
        for part in place.relative_to(self.root).parts[:-1]:
            found = self._names.get((node, part))
            if found is None:
                return None  # the call is going to fail
            node = found
        return node, place.name

    def _change(self, call: Callable[..., Any], note: Callable[..., None], count: int) -> Callable[..., Any]:
        """`call`, whose first `count` arguments are paths, recorded by `note` of their keys."""

        def recorded(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                fds = [options.get("dir_fd") or options.get(name) for name in ("src_dir_fd", "dst_dir_fd")]
                keys = [self._key(path, fd) for path, fd in zip(arguments[:count], fds, strict=False)]
                if all(key is None for key in keys):
                    return call(*arguments, **options)
                if None in keys:
                    raise RuntimeError(f"{arguments}: over the border of what is recorded")
                self._look()
                gone = self._lstat(arguments[-1], options)
                result = call(*arguments, **options)
                note(*keys, gone)
                self._look()
                return result

        return recorded

    def _lstat(self, path: Any, options: dict[str, Any]) -> os.stat_result | None:
        fd = options.get("dir_fd") or options.get("dst_dir_fd")
        try:
            return os.lstat(path, dir_fd=fd)
        except (OSError, TypeError):
            return None

    def _forget(self, key: tuple[int, str], info: os.stat_result | None) -> None:
        """A name is gone; an inode whose last name is gone may be another file's soon."""
        self._names.pop(key, None)
        if info is not None and (info.st_nlink < 2 or stat.S_ISDIR(info.st_mode)):
            self._inodes.pop(info.st_ino, None)

    def _removed(self, key: tuple[int, str], info: os.stat_result | None) -> None:
        self._forget(key, info)
        self.events.append(Gone(*key))

    def _renamed(self, key: tuple[int, str], to: tuple[int, str], info: os.stat_result | None) -> None:
        node = self._names.pop(key)
        if to in self._names:
            self._forget(to, info)
        self._names[to] = node
        self.events.append(Moved(*key, *to, node))

    def _linked(self, key: tuple[int, str], to: tuple[int, str], info: os.stat_result | None) -> None:
        self._names[to] = self._names[key]
        self.events.append(Named(*to, self._names[key]))

    def _looking(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call that may make, cut or fill a file: what it did is looked at."""

        def recorded(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                result = call(*arguments, **options)
                self._look()
                return result

        return recorded

    def _opening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(file: Any, mode: Any = "r", *arguments: Any, **options: Any) -> Any:
            writes = mode & (os.O_CREAT | os.O_TRUNC) if isinstance(mode, int) else set(mode) & set("wax+")
            if not writes or isinstance(file, int):
                return call(file, mode, *arguments, **options)
            with self._lock:
                result = call(file, mode, *arguments, **options)
                self._look()
                return result

        return recorded

    def _fsync(self, file: Any) -> None:
        with self._lock:
            self._look()
            info = os.fstat(file if isinstance(file, int) else file.fileno())
            node = self._inodes.get(info.st_ino)
            if node is None or not info.st_nlink:
                return
            self._until -= 1
            if self._until == 0:
                if self._how == "killed":
                    raise Killed
                self.events.append(Doubted(node))
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self.events.append(Synced(node, _site()))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Stand in the way of the calls. Nothing waits for the disk: a recording needs no real fsync."""
        replaced: list[tuple[Any, str, Any]] = []

        def replace(module: Any, name: str, function: Any) -> None:
            replaced.append((module, name, getattr(module, name)))
            setattr(module, name, function)

        for name in ("unlink", "remove", "rmdir"):
            replace(os, name, self._change(getattr(os, name), self._removed, 1))
        for name in ("rename", "replace"):
            replace(os, name, self._change(getattr(os, name), self._renamed, 2))
        replace(os, "link", self._change(os.link, self._linked, 2))
        for name in ("mkdir", "truncate", "ftruncate", "posix_fallocate"):
            replace(os, name, self._looking(getattr(os, name)))
        for module, name in ((os, "open"), (io, "open"), (builtins, "open")):
            replace(module, name, self._opening(getattr(module, name)))
        replace(os, "fsync", self._fsync)
        try:
            yield
            with self._lock:
                self._look()
        finally:
            for module, name, function in reversed(replaced):
                setattr(module, name, function)


def _read(path: str) -> bytes:
    handle = _OPEN(path, os.O_RDONLY)
    try:
        return os.read(handle, os.fstat(handle).st_size + 1)
    finally:
        os.close(handle)


_OPEN = os.open  # the real one, whatever stands in its way


def _site() -> str:
    """The line of the package that asked for an fsync; of the ways to ask, the one that called them."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE) and frame.f_code.co_name not in WAYS:
            return f"{path.relative_to(_PACKAGE).as_posix()}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
