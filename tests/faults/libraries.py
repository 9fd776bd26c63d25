"""Calls that libraries make of the system by themselves, as they tell of them when they fail.

Each was looked at with the true library: whatever keeps safetensors from opening a file, it says that there is none;
FAISS raises a RuntimeError; NumPy's `fromfile` answers with what it had so far, and says nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import safetensors
import safetensors.torch

from distillkit.store.reading import mapping

if TYPE_CHECKING:
    from tests.faults.failing import Calls

SHORT = "short"  # fewer bytes than asked for, and no error


def libraries(calls: Calls) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Module, name and what is to stand there."""
    yield os, "pread", _pread(calls, os.pread)
    yield os, "sendfile", _sendfile(calls, os.sendfile)
    yield np, "fromfile", _fromfile(calls, np.fromfile)
    yield faiss, "read_index", _read_index(calls, faiss.read_index)
    yield mapping, "_libc", _libc(calls, mapping._libc)
    real, opening = safetensors.safe_open, _safe_open(calls, safetensors.safe_open)
    for name, module in [*sys.modules.items()]:
        if name.startswith(("distillkit.", "safetensors.torch")) and getattr(module, "safe_open", None) is real:
            yield module, "safe_open", opening


def _pread(calls: Calls, real: Callable[..., bytes]) -> Callable[..., bytes]:
    def pread(handle: int, count: int, start: int) -> bytes:
        error = calls.by_itself("os.pread", "read", handle)
        if isinstance(error, int):
            raise OSError(error, os.strerror(error))
        return real(handle, max(1, count // 2) if error == SHORT else count, start)

    return pread


def _sendfile(calls: Calls, real: Callable[..., int]) -> Callable[..., int]:
    def sendfile(target: int, source: int, start: int, count: int) -> int:
        error = calls.by_itself("os.sendfile", "write", target)
        if isinstance(error, int):
            raise OSError(error, os.strerror(error))
        size = max(1, min(count, os.fstat(source).st_size) // 2)
        return real(target, source, start, size if error == SHORT else count)

    return sendfile


def _fromfile(calls: Calls, real: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def fromfile(file: Any, dtype: Any = float, count: int = -1, *more: Any, **options: Any) -> np.ndarray:
        found = real(file, dtype, count, *more, **options)
        handle = file.fileno() if hasattr(file, "fileno") else file
        failed = isinstance(
            calls.by_itself("np.fromfile", "read", handle), int
        )  # what is short is asked for again by the C library
        return found[: len(found) // 2] if failed else found

    return fromfile


def _safe_open(calls: Calls, real: Callable[..., Any]) -> Callable[..., Any]:
    def safe_open(filename: Any, *more: Any, **options: Any) -> Any:
        if isinstance(calls.by_itself("safetensors", "open", filename), int):
            raise FileNotFoundError(f"No such file or directory: {filename}")
        error = calls.by_itself("safetensors", "mmap", filename)
        if isinstance(error, int):
            raise OSError(error, os.strerror(error))
        return real(filename, *more, **options)

    return safe_open


def _read_index(calls: Calls, real: Callable[..., Any]) -> Callable[..., Any]:
    def read_index(path: Any, *more: Any) -> Any:
        error = calls.by_itself("faiss", "open", path) if isinstance(path, str) else None
        if error is not None:
            place = "Error in faiss::FileIOReader::FileIOReader(const char*) at /project/faiss/impl/io.cpp:69"
            told = f"could not open {path} for reading: {os.strerror(int(error))}"
            raise RuntimeError(f"{place}: Error: 'f' failed: {told}")
        return real(path, *more)

    return read_index


def _libc(calls: Calls, real: Callable[[], Any]) -> Callable[[], Any]:
    """The one that maps the shards of a field."""

    class Libc:
        def __init__(self) -> None:
            self.real = real()
            self.munmap, self.madvise = self.real.munmap, self.real.madvise

        def mmap(self, place: Any, size: int, may: int, how: int, handle: int, start: int) -> Any:
            error = calls.by_itself("libc", "mmap", handle) if handle >= 0 else None
            if isinstance(error, int):
                ctypes.set_errno(error or errno.EIO)
                return mapping._FAILED
            return self.real.mmap(place, size, may, how, handle, start)

    return Libc
