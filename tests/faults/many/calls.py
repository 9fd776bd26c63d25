"""What the processes of a simulated world call: the disk, its locks, the clock, threads of their own.

Files are real, below one folder of this machine; at each call that names one of them the turn may pass, or the process
may be killed. Locks are kept here, as all processes are one. `leased`: a lock is lost by a machine that sleeps for
longer than a file server waits, when another asks for it; on a disk of its own a process keeps it in its sleep.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from distillkit.engine import local as engine
from distillkit.store.bucket import cache, coming, remote
from distillkit.store.writing import fill, rows
from distillkit.system import locks, temporary
from distillkit.system import remote as transfers
from tests.faults.many.turns import Process, Turns

_LEASE = 90.0  # seconds, of NFS
_PASSING = 0.04  # how often a call of the disk takes long enough for others to have a turn
_NAMED = ("open", "stat", "mkdir", "rmdir", "unlink", "rename", "replace", "link", "scandir")


@dataclass(eq=False)
class _Held:
    file: tuple[int, int]
    first: int
    stop: float
    shared: bool
    by: Process
    handle: Any  # of the open file: a lock goes with it

    @property
    def over(self) -> bool:
        return not self.by.alive or getattr(self.handle, "closed", False)


class Locks:
    """What `fcntl` has for locks."""

    LOCK_EX, LOCK_SH, LOCK_NB, LOCK_UN = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB, fcntl.LOCK_UN

    def __init__(self, turns: Turns, leased: bool):
        self._turns, self._leased, self._held = turns, leased, list[_Held]()

    def lockf(self, handle: Any, kind: int, length: int = 0, start: int = 0) -> None:
        """Locks of a process: what it has of a file is never in its own way."""
        self._lock(handle, kind, start, start + length if length else float("inf"), whole=False)

    def flock(self, handle: Any, kind: int) -> None:
        """Locks of an open file."""
        self._lock(handle, kind, 0, float("inf"), whole=True)

    def closed(self, handle: int) -> None:
        self._held = [one for one in self._held if one.handle != handle]

    def _lock(self, handle: Any, kind: int, first: int, stop: float, whole: bool) -> None:
        me = self._turns.met()
        info = os.fstat(handle if isinstance(handle, int) else handle.fileno())
        wanted = _Held((info.st_dev, info.st_ino, whole), first, stop, bool(kind & fcntl.LOCK_SH), me, handle)
        mine = [one for one in self._held if one.file == wanted.file and _same(one, wanted, whole)]
        if kind & fcntl.LOCK_UN:
            self._held = [one for one in self._held if one not in mine or one.stop <= first or one.first >= stop]
            return
        while self._taken(wanted, mine):
            if kind & fcntl.LOCK_NB:
                raise BlockingIOError(errno.EAGAIN, "taken")
            self._turns.wait(self._turns.chance.uniform(0.1, 5))
        self._held.append(wanted)

    def _taken(self, wanted: _Held, mine: list[_Held]) -> bool:
        """Whether another's lock is in the way; those are dropped that are over, or lost by who asks too late."""

        def meant(one: _Held) -> bool:
            return one.file == wanted.file and one.first < wanted.stop and wanted.first < one.stop

        self._held = [one for one in self._held if not (one.over or (meant(one) and self._lost(one)))]
        return any(meant(one) and one not in mine and not (one.shared and wanted.shared) for one in self._held)

    def _lost(self, one: _Held) -> bool:
        machine, now = one.by.machine, self._turns.now
        return self._leased and machine.sleeps_from + _LEASE < now < machine.sleeps_until


def _same(one: _Held, wanted: _Held, whole: bool) -> bool:
    return one.handle is wanted.handle if whole else one.by is wanted.by


class Clock:
    """`time` of the machine whose turn it is."""

    def __init__(self, turns: Turns):
        self._turns = turns

    def sleep(self, seconds: float) -> None:
        self._turns.wait(seconds)

    def time(self) -> float:
        return 1e9 + self._turns.now + self._turns.me.machine.fast

    monotonic = perf_counter = time


class AtOnce:
    """Threads that do their work when they are given it, pieces of one kind in any order."""

    def __init__(self, turns: Turns):
        self._turns = turns

    def __call__(self, *_: Any) -> AtOnce:
        return self

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result is told
            future.set_exception(error)
        return future

    def map(self, work: Callable[[Any], Any], items: Iterator[Any]) -> list[Any]:
        wanted = sorted(items)
        self._turns.chance.shuffle(wanted)
        return [work(item) for item in wanted]


@contextmanager
def in_the_way(turns: Turns, root: Path, leased: bool) -> Iterator[None]:
    """While this lasts, whoever has the turn lives in the simulated world."""
    held, clock, threads, below = Locks(turns, leased), Clock(turns), AtOnce(turns), str(root)

    def passing(call: Callable[..., Any]) -> Callable[..., Any]:
        def passed(place: Any = ".", *arguments: Any, **options: Any) -> Any:
            if not isinstance(place, int) and os.fspath(place).startswith(below):
                turns.met()
                if turns.chance.random() < _PASSING:
                    turns.wait(turns.chance.expovariate(1))
            return call(place, *arguments, **options)

        return passed

    def closing(handle: int, close: Callable[[int], None] = os.close) -> None:
        held.closed(handle)
        close(handle)

    with ExitStack() as stack:
        for name in _NAMED:
            stack.enter_context(patch.object(os, name, passing(getattr(os, name))))
        for module in (io, builtins):
            stack.enter_context(patch.object(module, "open", passing(module.open)))
        stack.enter_context(patch.object(os, "close", closing))
        stack.enter_context(patch.object(os, "fsync", lambda handle: None))
        stack.enter_context(patch.object(locks, "fcntl", held))
        names = count()  # of temporary files: a seed decides them, too
        stack.enter_context(patch.object(temporary, "token_hex", lambda length: f"{next(names):0{2 * length}x}"))
        for module in (transfers, cache, coming):
            stack.enter_context(patch.object(module, "time", clock))
        for module in (remote, rows, fill, engine):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", threads))
        stack.enter_context(patch.object(cache, "cache_dir", lambda: turns.me.machine.disk / "cache"))
        yield
