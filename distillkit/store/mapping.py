"""All shards of a field as one contiguous array, without reading them: each file is mapped behind the one before it.

What makes random rows of it as fast as rows of an array in memory is the size of the pages. The map begins at a
multiple of 2 MiB, as shards of 2^16 rows do, so the kernel can map the page cache in pages of 2 MiB where its file
system keeps such (ext4 and xfs in Linux 6); with pages of 4 KiB a gather waits half of its time for their addresses.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import weakref
from pathlib import Path

import numpy as np
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.memory import available_memory

_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value
_HUGE = 1 << 21
# linux/mman.h; Python has no name for the last, which is Linux 5.14's.
_RANDOM, _HUGE_PAGES, _POPULATE = 1, 14, 22
_LINUX = sys.platform.startswith("linux")


def map_back_to_back(paths: list[Path], region: int, total: int) -> np.ndarray:
    """Read-only uint8 [total]; file i starts at byte i * region (whole pages, the last may be shorter).

    Of what does not fit in memory, single pages are read, as random rows want it; `page_in` reads long runs of it.
    """
    # Regions are whole pages of 4 KiB; some machines have larger ones.
    aligned = len(paths) == 1 or region % mmap.PAGESIZE == 0
    if not sys.platform.startswith(("linux", "darwin")) or not aligned:
        return _copied(paths, region, total)
    libc = _libc()
    reserved = libc.mmap(None, total + _HUGE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if reserved == _FAILED:
        raise StoreError(f"cannot reserve {total} bytes of address space for {paths[0].parent.parent}")
    base = -(-reserved // _HUGE) * _HUGE
    for number, path in enumerate(paths):
        length = min(region, total - number * region)
        with path.open("rb") as file:
            at = base + number * region
            mapped = libc.mmap(at, length, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, file.fileno(), 0)
        if mapped == _FAILED:
            libc.munmap(reserved, total + _HUGE)
            raise StoreError(f"{path}: cannot be mapped into memory (errno {ctypes.get_errno()})")
    if _LINUX:
        # Advice: a kernel that does not know it goes on without.
        libc.madvise(base, total, _HUGE_PAGES if fits_in_memory(total) else _RANDOM)
    memory = (ctypes.c_uint8 * total).from_address(base)
    # Not at exit: a thread may still be reading then, and the process gives its memory back anyway.
    weakref.finalize(memory, libc.munmap, reserved, total + _HUGE).atexit = False
    array = np.ctypeslib.as_array(memory)
    array.flags.writeable = False
    return array


def page_in(rows: Tensor) -> None:
    """Read mapped rows, a slice of a table, into the page cache in file order; other threads go on meanwhile.

    OSError if the disk fails, where a gather would end the process with SIGBUS.
    """
    first = rows.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    length = rows.data_ptr() + rows.nbytes - first
    if _LINUX:
        _libc().madvise(first, length, _HUGE_PAGES)
        if _libc().madvise(first, length, _POPULATE) == 0:
            return
        if ctypes.get_errno() != errno.EINVAL:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    rows.flatten()[:: mmap.PAGESIZE // rows.element_size()].clone()  # an older system: a number of every page


def fits_in_memory(size: int) -> bool:
    """Whether that many bytes can be kept in memory, and leave room for the work."""
    return size <= available_memory() // 4 * 3


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _copied(paths: list[Path], region: int, total: int) -> np.ndarray:
    """The same array where mmap(MAP_FIXED) is missing or pages are larger than regions: read into memory."""
    whole = np.empty(total, dtype=np.uint8)
    for number, path in enumerate(paths):
        length = min(region, total - number * region)
        whole[number * region : number * region + length] = np.fromfile(path, dtype=np.uint8, count=length)
    whole.flags.writeable = False
    return whole
