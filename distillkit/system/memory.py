"""Memory that this process may still take: what the system has to give, or less where a container has a limit."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes, with the page cache that can be taken back; 0 where the system does not say."""
    return min([_of_system(), *_of_container()])


def _of_system() -> int:
    if _MEMINFO.is_file():
        return _numbers(_MEMINFO.read_text("latin-1").replace(":", ""))["MemAvailable"] * 1024
    known = {"SC_AVPHYS_PAGES", "SC_PAGE_SIZE"} <= set(os.sysconf_names)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 0


def _of_container() -> list[int]:
    """What a cgroup v2 with a limit still allows (https://docs.kernel.org/admin-guide/cgroup-v2.html); else nothing."""
    limit = _CONTAINER / "memory.max"
    if not limit.is_file() or limit.read_text("latin-1").strip() == "max":
        return []
    stat = _numbers((_CONTAINER / "memory.stat").read_text("latin-1"))
    cache = stat["active_file"] + stat["inactive_file"]
    return [int(limit.read_text("latin-1")) - int((_CONTAINER / "memory.current").read_text("latin-1")) + cache]


def return_freed() -> None:
    """Give the system what was freed. glibc keeps it, for each thread apart, and so once for each decoder; other C
    libraries have no such call."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _numbers(listing: str) -> dict[str, int]:
    """Lines of a name and a number, whatever follows."""
    return {name: int(number) for name, number, *_ in map(str.split, listing.splitlines())}
