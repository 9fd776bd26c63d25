"""All shards of a field as one contiguous array, without reading them: each file is mapped behind the one before it.

What makes random rows of it as fast as rows of an array in memory is the size of the pages. The map begins at a
multiple of 2 MiB, as shards of 2^16 rows do, so the kernel can map the page cache in pages of 2 MiB where its file
system keeps such (ext4 and xfs in Linux 6); with pages of 4 KiB a gather waits half of its time for their addresses.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.system.memory import available_memory
from distillkit.system.opening import numbers

_FIXED = 0x10
_NOTHING = 0  # PROT_NONE
_FAILED = ctypes.c_void_p(-1).value
_HUGE = 1 << 21
# linux/mman.h; Python has no name for the last, which is Linux 5.14's.
_RANDOM, _HUGE_PAGES, _POPULATE = 1, 14, 22
_LINUX = sys.platform.startswith("linux")
_FEW = 4096  # files that are mapped without asking how many a process may map
_TRIES = 100  # of a call that signals interrupt
_MOST = Path("/proc/sys/vm/max_map_count")
# What to do where a file cannot be mapped, by what the system says.
_HELP = {
    errno.EACCES: "let this user read it (chmod u+r), and its file system be one that allows maps",
    errno.EPERM: "let this user read it, and its file system be one that allows maps",
    errno.ENODEV: "its file system maps no files: copy the store to a disk of this machine",
    errno.EINVAL: "its file system maps no files: copy the store to a disk of this machine",
    errno.EIO: "look whether its disk is well, then run: distillkit store verify STORE",
    errno.EINTR: "signals came without end; run the same command again",
    errno.EAGAIN: "too much memory is locked: raise ulimit -l, and run the same command again",
    errno.EMFILE: "raise ulimit -n, and run the same command again",
    errno.ENFILE: "the system has too many open files: end what is not needed, and run the same command again",
}
_ELSE = "copy the store to another disk, or run: distillkit store verify STORE"


class NoMapsLeft(StoreError):
    """The system maps no more files for this process, or has no memory for it."""


def map_back_to_back(paths: list[Path], region: int, total: int) -> np.ndarray:
    """Read-only uint8 [total]; file i starts at byte i * region (whole pages, the last may be shorter).

    Of what does not fit in memory, single pages are read, as random rows want it; `page_in` reads long runs of it.
    """
    if not can_be_mapped(len(paths), region):
        return _copied(paths, region, total)
    window = Window(region, total)
    for number, path in enumerate(paths):
        with path.open("rb") as file:
            window.put(number, file)
    return window.array


def map_file(file: BinaryIO, size: int) -> np.ndarray:
    """An open file as a read-only array, uint8 [size]; read where it cannot be mapped."""
    if not can_be_mapped(1, size):
        return numbers(file, np.uint8, size)
    window = Window(size, size)
    window.put(0, file)
    return window.array


def can_be_mapped(files: int, region: int) -> bool:
    """Whether this system can map so many files back to back. Regions are whole pages of 4 KiB; some have larger."""
    return sys.platform.startswith(("linux", "darwin")) and (files == 1 or region % mmap.PAGESIZE == 0)


class Window:
    """A read-only array, uint8 [total], with file n at byte n * region. What is not mapped cannot be touched."""

    seconds = 30.0  # how long a shard of a store behind a URL stays mapped after it was read

    def __init__(self, region: int, total: int):
        self._region, self._total = region, total
        self._advice = _HUGE_PAGES if fits_in_memory(total) else _RANDOM
        self._libc = libc = _libc()
        reserved = libc.mmap(None, total + _HUGE, _NOTHING, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if reserved == _FAILED:
            raise StoreError(
                f"cannot reserve {total} bytes of address space ({os.strerror(ctypes.get_errno())}); raise ulimit -v, "
                "and run the same command again"
            )
        self._base = -(-reserved // _HUGE) * _HUGE
        self._memory = (ctypes.c_uint8 * total).from_address(self._base)
        # Not at exit: a thread may still be reading then, and the process gives its memory back anyway.
        weakref.finalize(self._memory, libc.munmap, reserved, total + _HUGE).atexit = False
        self.array = np.ctypeslib.as_array(self._memory)
        self.array.flags.writeable = False

    def put(self, number: int, file: BinaryIO) -> None:
        """Map a file. StoreError where the system cannot, NoMapsLeft where it maps no more of them."""
        at, length = self._place(number)
        for _ in range(_TRIES):
            if self._libc.mmap(at, length, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, file.fileno(), 0) != _FAILED:
                break
            if ctypes.get_errno() != errno.EINTR:
                raise _refused(file.name, ctypes.get_errno())
        else:
            raise _refused(file.name, errno.EINTR)
        if _LINUX:
            # Advice: a kernel that does not know it goes on without.
            self._libc.madvise(at, length, self._advice)

    def stays(self) -> None:
        """What was read stays mapped until it is taken out."""
        self.seconds = math.inf

    def drop(self, number: int) -> None:
        """Take a file out again."""
        at, length = self._place(number)
        self._libc.mmap(at, length, _NOTHING, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED, -1, 0)

    def _place(self, number: int) -> tuple[int, int]:
        first = number * self._region
        return self._base + first, min(self._region, self._total - first)


def _refused(path: str, number: int) -> StoreError:
    told = f"{path}: cannot be mapped into memory ({os.strerror(number).lower()})"
    if number != errno.ENOMEM:
        return StoreError(f"{told}; {_HELP.get(number, _ELSE)}")
    most = most_maps()
    many = "" if most is None else f", or raise vm.max_map_count, the files that a process may map ({most:,} by now)"
    return NoMapsLeft(f"{told}; end what takes memory, or raise ulimit -v{many}")


def most_maps() -> int | None:
    """How many maps a process may have; None where the system does not say."""
    try:
        return int(_MOST.read_text("latin-1"))
    except (OSError, ValueError):  # another system
        return None


def maps_left() -> int:
    """How many more files this process should map: of what it may have, an eighth stays for libraries and threads."""
    most = most_maps()
    if most is None:
        return sys.maxsize
    return max(most // 8 * 7 - Path("/proc/self/maps").read_bytes().count(b"\n"), 0)


def can_map_all(files: int) -> bool:
    """Whether so many files may be mapped at once, beside what this process has mapped."""
    return files <= _FEW or files <= maps_left()


def page_in(rows: Tensor) -> None:
    """Read mapped rows, a slice of a table, into the page cache in file order; other threads go on meanwhile.

    OSError if the disk fails, where a gather would end the process with SIGBUS.
    """
    first = rows.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    length = rows.data_ptr() + rows.nbytes - first
    if _LINUX:
        libc = _libc()
        libc.madvise(first, length, _HUGE_PAGES)
        if libc.madvise(first, length, _POPULATE) == 0:
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
        with path.open("rb") as file:
            whole[number * region : number * region + length] = numbers(file, np.uint8, length)
    whole.flags.writeable = False
    return whole
