"""How many may work side by side, and what a process that helps owes to the one that started it."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
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
    time, period = limit.read_text("latin-1").split() if limit.is_file() else ("max", "1")
    return [] if time == "max" else [max(1, math.ceil(int(time) / int(period)))]


class _Process(SpawnProcess):
    """One that begins empty, and does not run the script again that asked for it."""

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802  (multiprocessing calls it so)
        try:
            with _no_script(), unheard():
                return SpawnProcess._Popen(process)
        except (AttributeError, pickle.PicklingError):  # it is given what the script itself defines
            with unheard():
                return SpawnProcess._Popen(process)


class Apart(SpawnContext):
    """The context of processes that import what they are sent, and not the script of whoever called us.

    multiprocessing would run a script without `if __name__ == "__main__"` once more in each process, trainings and all,
    and each would then be refused processes of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun: list[_Process] = []

    def Process(self, *given: Any, **named: Any) -> _Process:  # type: ignore[override]  # noqa: N802
        process = _Process(*given, **named)
        self._begun.append(process)
        return process

    def kill(self) -> None:
        """All that were started: what they are at, or import for seconds before they begin, nobody wants any more."""
        for process in self._begun:
            if process.pid is not None:
                process.kill()


class _Hidden(ModuleType):
    """The main module: one of no file to the thread that made this, what it was to all others, who may pickle."""

    def __init__(self, script: ModuleType):
        super().__init__("__main__")
        self._script, self._thread = script, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        if threading.get_ident() == self._thread:
            raise AttributeError(name)
        return getattr(self._script, name)


_hiding = threading.Lock()


@contextmanager
def _no_script() -> Iterator[None]:
    """Within it the main module is one of no file, as in a shell of Python."""
    with _hiding:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = _Hidden(script)
        try:
            yield
        finally:
            sys.modules["__main__"] = script


_OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # which reach all of its processes


@contextmanager
def unheard() -> Iterator[None]:
    """A process that is started within it hears of no Ctrl-C and no closed terminal: not while it imports either, where
    Python would print a traceback. This process hears of them as ever, at the latest when it is left.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_A_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_by_signals() -> None:
    """In a process that was started `unheard` and has imported what it needs: Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_A_TERMINAL)


def begin_worker() -> None:
    """In a new process: leave Ctrl-C and a closed terminal to the parent, and never outlive it."""
    for number in _OF_A_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
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
    pool = ProcessPoolExecutor(cores(), Apart(), begin_worker)
    try:
        yield from pool.map(work, *columns, chunksize=_AT_ONCE)
    except BrokenProcessPool as broken:
        raise DistillkitError(
            "a process that helped died, most likely for want of memory; run the same again"
        ) from broken
    finally:
        pool.shutdown(cancel_futures=True)
