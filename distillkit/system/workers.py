"""How many may work side by side, and what a process that helps owes to the one that started it."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from distillkit.errors import DistillkitError

_CONTAINER = Path("/sys/fs/cgroup")
_AT_ONCE = 64  # items that travel together: enough that the way is nothing beside the work


def cores() -> int:
    """How many this process may use: those it is bound to, or fewer where a container has a limit (docker --cpus)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([bound, *_of_container()])


def _of_container() -> list[int]:
    """What a cgroup v2 allows, rounded up (https://docs.kernel.org/admin-guide/cgroup-v2.html); else nothing."""
    limit = _CONTAINER / "cpu.max"
    time, period = limit.read_text().split() if limit.is_file() else ("max", "1")
    return [] if time == "max" else [max(1, math.ceil(int(time) / int(period)))]


def begin_worker() -> None:
    """In a new process: leave Ctrl-C to the parent, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def by_processes(work: Callable[..., Any], *columns: Iterable[Any]) -> Iterable[Any]:
    """What `work` makes of each row of the columns, in order, by as many processes as there are cores.

    For work that holds Python's lock. The first error of a worker is raised here.
    """
    pool = ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), begin_worker)
    try:
        yield from pool.map(work, *columns, chunksize=_AT_ONCE)
    except BrokenProcessPool as broken:
        raise DistillkitError(
            "a process that helped died, most likely for want of memory; run the same again"
        ) from broken
    finally:
        pool.shutdown(cancel_futures=True)
