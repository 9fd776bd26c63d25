"""How far a pass over images is, and when it will be done: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_EVERY = 10.0  # seconds between two lines


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
        if self.say is None or not self.bar.disable or now - self.told < _EVERY or self.done >= self.total:
            return
        self.told, rate = now, self.done / (now - self.began)
        left = (self.total - self.done) / rate
        waits = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        self.say(f"{self.what} {self.done:,}/{self.total:,}  {rate:,.0f}/s  {waits} left")
