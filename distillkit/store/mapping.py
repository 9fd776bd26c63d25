"""All shards of a field as one contiguous array, without reading them: each file is mapped behind the one before it."""

from __future__ import annotations

import ctypes
import mmap
import sys
import weakref
from pathlib import Path

import numpy as np

from distillkit.errors import StoreError

_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value


def map_back_to_back(paths: list[Path], region: int, total: int) -> np.ndarray:
    """Read-only uint8 [total]; file i starts at byte i * region (whole pages, the last may be shorter)."""
    # Regions are whole pages of 4 KiB; some machines have larger ones.
    aligned = len(paths) == 1 or region % mmap.PAGESIZE == 0
    if not sys.platform.startswith(("linux", "darwin")) or not aligned:
        return _copied(paths, region, total)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    base = libc.mmap(None, total, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if base == _FAILED:
        raise StoreError(f"cannot reserve {total} bytes of address space for {paths[0].parent.parent}")
    for number, path in enumerate(paths):
        length = min(region, total - number * region)
        with path.open("rb") as file:
            at = base + number * region
            mapped = libc.mmap(at, length, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, file.fileno(), 0)
        if mapped == _FAILED:
            libc.munmap(base, total)
            raise StoreError(f"{path}: cannot be mapped into memory (errno {ctypes.get_errno()})")
    memory = (ctypes.c_uint8 * total).from_address(base)
    # Not at exit: a thread may still be reading then, and the process gives its memory back anyway.
    weakref.finalize(memory, libc.munmap, base, total).atexit = False
    array = np.ctypeslib.as_array(memory)
    array.flags.writeable = False
    return array


def _copied(paths: list[Path], region: int, total: int) -> np.ndarray:
    """The same array where mmap(MAP_FIXED) is missing or pages are larger than regions: read into memory."""
    whole = np.empty(total, dtype=np.uint8)
    for number, path in enumerate(paths):
        length = min(region, total - number * region)
        whole[number * region : number * region + length] = np.fromfile(path, dtype=np.uint8, count=length)
    whole.flags.writeable = False
    return whole
