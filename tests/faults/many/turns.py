"""Processes of several machines, one at a time, under a clock that only waiting moves.

Each process is a thread, and a thread runs only while it has the turn. It gives the turn back wherever it waits, and
the one whose wait is over first has it next: so a seed decides everything, and the same seed decides the same.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore, Thread

_LONGEST = 60_000  # turns, before a trial counts as hanging
_NAPS = (60, 600, 3600, 10_000)  # seconds


class Killed(BaseException):
    """The process is no more: from here on nothing that it does has an effect."""


@dataclass(eq=False)
class Machine:
    """A computer with a disk of its own, whose clock is `fast` seconds ahead of the world's."""

    disk: Path
    fast: float = 0.0
    sleeps_from: float = 0.0
    sleeps_until: float = 0.0


@dataclass(eq=False)
class Process:
    """A program on a machine. It is killed at its call number `dies_at`, if it comes to that."""

    machine: Machine
    program: Callable[[], object]
    dies_at: int = 0
    calls: int = 0
    alive: bool = True
    killed: bool = False
    error: BaseException | None = None
    turn: Semaphore = field(default_factory=lambda: Semaphore(0))
    thread: Thread | None = None


class Turns:
    """`sleepy`: how probable it is that a machine falls asleep at a wait. `ended` hears of each process that did."""

    def __init__(self, chance: random.Random, sleepy: float, ended: Callable[[Process], None]):
        self.chance, self.sleepy, self.ended, self.now = chance, sleepy, ended, 0.0
        self._waiting: list[tuple[float, int, Process | Callable[[], object]]] = []
        self._current: Process | None = None
        self._count, self._hangs, self._over = 0, False, Semaphore(0)

    @property
    def me(self) -> Process:
        """The process whose turn it is."""
        assert self._current is not None
        return self._current

    def start(self, process: Process, after: float = 0.0) -> None:
        self._put(after, process)

    def later(self, after: float, event: Callable[[], object]) -> None:
        """What happens by itself."""
        self._put(after, event)

    def run(self) -> None:
        """Until all processes have ended. AssertionError where they never would."""
        self._pass_on()
        self._over.acquire()
        assert not self._hangs, "it hangs: they wait for each other"

    def met(self) -> Process:
        """The current process calls the system, and may die of it."""
        me = self.me
        me.calls += 1
        if me.calls == me.dies_at or self._hangs:
            me.alive, me.killed = False, True
        if not me.alive:
            raise Killed
        return me

    def wait(self, seconds: float) -> None:
        """The current process waits; the others, and the world, go on."""
        me = self.met()
        if self.sleepy and self.chance.random() < self.sleepy:
            me.machine.sleeps_from = self.now
            me.machine.sleeps_until = self.now + self.chance.choice(_NAPS)
        self._put(seconds, me)
        if self._pass_on() is not me:
            me.turn.acquire()

    def _put(self, after: float, thing: Process | Callable[[], object]) -> None:
        self._count += 1
        self._hangs |= self._count > _LONGEST
        heapq.heappush(self._waiting, (self.now + after, self._count, thing))

    def _pass_on(self) -> Process | None:
        """The turn goes to whoever waits no longer; None: nobody is left."""
        before, following = self._current, self._next()
        self._current = following
        if following is None:
            self._over.release()
        elif following.thread is None:
            following.thread = Thread(target=self._run, args=(following,), daemon=True)
            following.thread.start()
        elif following is not before:
            following.turn.release()
        return following

    def _next(self) -> Process | None:
        while self._waiting:
            when, _, thing = heapq.heappop(self._waiting)
            self.now = max(self.now, when)
            if not isinstance(thing, Process):
                thing()
            elif thing.machine.sleeps_until > self.now:
                self._put(thing.machine.sleeps_until - self.now, thing)
            else:
                return thing
        return None

    def _run(self, process: Process) -> None:
        try:
            process.program()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the trial judges it
            process.error = error
        process.alive = False
        self.ended(process)
        self._pass_on()
