"""Calls of the system that fail: the n-th of a kind, once or from then on, below one folder.

Files that Python opens are given to the caller over a file of ours, whose reads and writes fail or are short as the
system's may be; so what Arrow, NumPy and safetensors read and write through Python is failed as well. What libraries
ask of the system themselves fails as they tell it: see `libraries`. `EINTR` is among the errors of those calls alone
that Python does not make again itself (PEP 475).
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import hashlib
import io
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.faults.libraries import SHORT, libraries

ERRORS: dict[str, tuple[int | str, ...]] = {
    "open": (errno.EMFILE, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT),
    "read": (errno.EIO, errno.ESTALE, SHORT),
    "write": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, SHORT),
    "fsync": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE),
    "rename": (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EINTR),
    "link": (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EINTR),
    "unlink": (errno.EIO, errno.EACCES, errno.ESTALE, errno.EINTR),
    "mkdir": (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EINTR),
    "mmap": (errno.ENOMEM, errno.EACCES, errno.ENODEV, errno.EIO, errno.ESTALE, errno.EINTR),
    "statvfs": (errno.EIO, errno.ESTALE, errno.EACCES, errno.EINTR),  # Python asks again of open files alone
    "lock": (errno.EIO, errno.ESTALE, errno.EACCES),
}
SLICES = 50  # in which the faults of a job are tried
# What a fault is; where that changes, what was tried before was another thing.
_WHERE = "the job's folder, and what it reads"
KINDS = hashlib.sha256(repr((ERRORS, _WHERE)).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Fault:
    """The `nth` call (from 1) of a kind fails with `error`; those after it as well, unless it is `once`."""

    kind: str
    nth: int
    error: int | str
    once: bool

    def __str__(self) -> str:
        return f"{name_of(self.error)} at {self.kind} no. {self.nth}{'' if self.once else ' and from then on'}"


def name_of(error: int | str) -> str:
    return error if isinstance(error, str) else errno.errorcode[error]


def faults_of(counted: dict[str, int]) -> list[Fault]:
    """Of so many calls of each kind: every one, with every error, once and for good."""
    return [
        Fault(kind, nth, error, once)
        for kind, count in counted.items()
        for nth in range(1, count + 1)
        for error in ERRORS[kind]
        for once in (True, False)
    ]


def mark_of(fault: Fault) -> bytes:
    """As good as thrown, and the same always: a call more or less does not shuffle the others anew."""
    return hashlib.sha256(str(fault).encode()).digest()


def slices_of(counted: dict[str, int]) -> list[list[Fault]]:
    """The faults of so many calls, in SLICES parts; in which one a fault lies does not depend on the others."""
    return _slices_of(tuple(counted.items()))


@lru_cache(64)
def _slices_of(counted: tuple[tuple[str, int], ...]) -> list[list[Fault]]:
    slices: list[list[Fault]] = [[] for _ in range(SLICES)]
    for fault in faults_of(dict(counted)):
        slices[int.from_bytes(mark_of(fault)[:4]) % SLICES].append(fault)
    return slices


class Calls:
    """Counts calls below `root` by kind, and fails those that `fault` means."""

    def __init__(self, root: Path, fault: Fault | None = None):
        self.root, self.fault = os.path.realpath(root), fault
        self.counted = dict.fromkeys(ERRORS, 0)
        self.failed = False
        self.places: list[str] = []  # of the calls that failed
        self.libraries = set[str]()  # that asked by themselves

    def _below(self, place: Any, dir_fd: int | None = None) -> bool:
        try:
            path = self._path(place, dir_fd)
        except (OSError, TypeError):
            return False
        return path.startswith(self.root + "/") or path == self.root

    def _path(self, place: Any, dir_fd: int | None = None) -> str:
        if isinstance(place, int):
            return str(Path(f"/proc/self/fd/{place}").readlink())
        start = str(Path(f"/proc/self/fd/{dir_fd}").readlink()) if dir_fd is not None else ""
        return os.path.abspath(os.path.join(start, os.fsdecode(place)))  # noqa: PTH100, PTH118

    def met(self, kind: str, place: Any, dir_fd: int | None = None) -> int | str | None:
        """Count a call; what it is to fail with, if it is."""
        if _ours or not self._below(place, dir_fd):
            return None
        self.counted[kind] += 1
        fault = self.fault
        if fault is None or fault.kind != kind or self.counted[kind] < fault.nth:
            return None
        if fault.once and self.failed:
            return None
        self.places.append(self._path(place, dir_fd))
        self.failed = True
        return fault.error

    def by_itself(self, library: str, kind: str, place: Any) -> int | str | None:
        """As `met`, of a library."""
        before = self.counted[kind]
        error = self.met(kind, place)
        if self.counted[kind] > before:
            self.libraries.add(library)
        return error

    def refuse(self, kind: str, place: Any, dir_fd: int | None = None) -> None:
        error = self.met(kind, place, dir_fd)
        if isinstance(error, int):
            named = None if isinstance(place, int) else os.fsdecode(place)
            raise OSError(error, os.strerror(error), named)

    def _guard(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(place: Any, *arguments: Any, **options: Any) -> Any:
            handle = place if isinstance(place, int | str | bytes | os.PathLike) else place.fileno()
            try:
                self.refuse(kind, handle, options.get("dir_fd"))
            except OSError as error:
                if kind in ("rename", "link"):
                    error.filename2 = os.fsdecode(arguments[0])
                    self.places.append(self._path(arguments[0]))
                raise
            return call(place, *arguments, **options)

        return guarded

    def _opened(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`io.open`, over a file of ours."""

        def opened(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
            if isinstance(file, int) or not self._below(file) or options.get("opener"):
                return call(file, mode, buffering, *text, **options)
            self.refuse("open", file)
            raw = _File(self, os.fspath(file), "".join(letter for letter in mode if letter not in "bt"))
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
            buffered = kind(raw)
            if "b" in mode:
                return buffered
            made = io.TextIOWrapper(buffered, *text, **options)
            made.mode = mode  # type: ignore[misc]
            return made

        return opened

    @contextmanager
    def in_the_way(self) -> Iterator[None]:
        """Stand in the way of the calls; nothing waits for the disk."""
        replaced: list[tuple[Any, str, Any]] = []

        def replace(module: Any, name: str, function: Any) -> None:
            replaced.append((module, name, getattr(module, name)))
            setattr(module, name, function)

        for kind, names in {
            "rename": ("rename", "replace"),
            "unlink": ("unlink", "remove", "rmdir"),
            "mkdir": ("mkdir",),
            "link": ("link",),
            "statvfs": ("statvfs",),
        }.items():
            for name in names:
                replace(os, name, self._guard(kind, getattr(os, name)))
        replace(os, "fsync", self._guard("fsync", lambda handle: None))
        replace(os, "open", self._guard("open", os.open))
        for module in (io, builtins):
            replace(module, "open", self._opened(module.open))
        for name in ("lockf", "flock"):
            replace(fcntl, name, self._guard("lock", getattr(fcntl, name)))
        replace(mmap, "mmap", self._guard("mmap", mmap.mmap))
        replace(pa, "memory_map", self._guard("mmap", pa.memory_map))
        for module, name, function in libraries(self):
            replace(module, name, function)
        try:
            yield
        finally:
            for module, name, function in reversed(replaced):
                setattr(module, name, function)


_ours: list[None] = []


@contextmanager
def ours() -> Iterator[None]:
    """What a job does itself, and not by the product, does not fail."""
    _ours.append(None)
    try:
        yield
    finally:
        _ours.pop()


class _File(io.FileIO):
    """A file whose reads and writes may fail, or be short."""

    def __init__(self, calls: Calls, path: str, mode: str):
        super().__init__(path, mode)
        self._calls = calls

    def _met(self, kind: str) -> bool:
        """Whether this call is to be short; OSError where it is to fail."""
        error = self._calls.met(kind, self.fileno())
        if isinstance(error, int):
            raise OSError(error, os.strerror(error))
        return error == SHORT

    def readinto(self, buffer: Any) -> int | None:
        view = memoryview(buffer).cast("B")
        return super().readinto(view[: max(1, len(view) // 2)] if self._met("read") else view)

    def read(self, size: int | None = -1) -> bytes | None:
        if size is None or size < 0:
            return self.readall()
        return super().read(max(1, size // 2) if self._met("read") else size)

    def readall(self) -> bytes:
        pieces = []
        while piece := self.read(1 << 16):
            pieces.append(piece)
        return b"".join(pieces)

    def write(self, data: Any) -> int | None:
        view = memoryview(data).cast("B")
        return super().write(view[: max(1, len(view) // 2)] if self._met("write") else view)
