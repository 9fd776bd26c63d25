"""How far a long wait is, and when it will be over: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from distillkit.system.wording import Usual, pace, wait

Item = TypeVar("Item")
_EVERY = 10.0  # seconds between two lines
_LOOKED = 64  # items between two looks at the clock


_HEARER: ContextVar[Callable[[str], None] | None] = ContextVar("hearer", default=None)


@contextmanager
def heard_by(say: Callable[[str], None]) -> Iterator[None]:
    """Within it `hearer()` is `say`: for waits inside what is built by kind and knobs, which knows nobody to tell."""
    before = _HEARER.set(say)
    try:
        yield
    finally:
        _HEARER.reset(before)


def hearer() -> Callable[[str], None] | None:
    """Who hears of what is built here; None: nobody."""
    return _HEARER.get()


class Progress:
    """`what` is counted up to `total`. Short passes print nothing. `say`: who hears; None: nobody."""

    def __init__(self, what: str, total: int, say: Callable[[str], None] | None):
        self.what, self.total, self.say, self.done = what, total, say, 0
        self.began = self.told = time.perf_counter()
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        shown = say is not None and sys.stderr.isatty()
        self.bar = Bar(*columns, console=Console(stderr=True), disable=not shown, transient=True)
        self.task = self.bar.add_task(what, total=total)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, count: int) -> None:
        self.done += count
        self.bar.advance(self.task, count)
        now = time.perf_counter()
        if self.say is None or not self.bar.disable or now - self.told < _EVERY or not 0 < self.done < self.total:
            return
        self.told, rate = now, self.done / (now - self.began)
        left = wait((self.total - self.done) / rate)
        rate_told = pace(rate, "").replace(" ", "")
        self.say(Usual(f"{self.what} {self.done:,}/{self.total:,}  {rate_told}  {left} left"))


def paced(what: str, total: int, step: int, say: Callable[[str], None] | None) -> Iterator[int]:
    """`range(0, total, step)`, with a word now and then on how far it is."""
    with Progress(what, total, say) as progress:
        for first in range(0, total, step):
            yield first
            progress.advance(min(step, total - first))


class Counted(Generic[Item]):
    """Items of which nobody knows how many there are: how many came so far is said now and then."""

    def __init__(self, items: Iterable[Item], what: str, say: Callable[[str], None]):
        self.behind, self.what, self.say = items, what, say

    def __iter__(self) -> Iterator[Item]:
        began = told = time.perf_counter()
        for done, item in enumerate(self.behind):
            if done % _LOOKED == 0 and (now := time.perf_counter()) - told >= _EVERY:
                told = now
                rate = pace(done / (now - began), "").replace(" ", "")
                self.say(Usual(f"{self.what} {done:,} so far  {rate}"))
            yield item
