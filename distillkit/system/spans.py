"""Where the time of a command goes, stage by stage: `with span("decode", 1): ...` where work is done, in any thread.

Nobody listens, and it costs nothing, but inside of `recorded`. What was recorded is a Chrome trace (chrome://tracing,
https://ui.perfetto.dev) and a table of rates. A GPU is waited for at the end of its stages, so that each has the time
that is its own: a run that is looked at is a little slower than one that is not.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from distillkit.system.atomic import atomic_file

WAIT = "wait"  # the stage in which whoever computes has nothing to compute with
_MOST = 200_000  # events of a trace; rates count all
_NOTHING: AbstractContextManager[None] = nullcontext()


class Event(NamedTuple):
    name: str
    items: int
    begin: float
    seconds: float
    thread: int


@dataclass
class Stage:
    """What all threads did under one name. `rate`: items a second that the stage could do with these threads alone."""

    seconds: float = 0.0
    items: int = 0
    threads: set[int] = field(default_factory=set)

    @property
    def rate(self) -> float:
        return self.items * len(self.threads) / self.seconds if self.seconds else 0.0


class Record:
    """All spans since it began."""

    def __init__(self) -> None:
        self.begun, self.lock = time.perf_counter(), threading.Lock()
        self.events: list[Event] = []
        self.stages: defaultdict[str, Stage] = defaultdict(Stage)

    def add(self, name: str, items: int, begin: float, end: float) -> None:
        self.take(Event(name, items, begin, end - begin, threading.get_ident()))

    def take(self, event: Event) -> None:
        with self.lock:
            stage = self.stages[event.name]
            stage.seconds, stage.items = stage.seconds + event.seconds, stage.items + event.items
            stage.threads.add(event.thread)
            if len(self.events) < _MOST:
                self.events.append(event)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun

    def write(self, path: Path) -> None:
        """As a Chrome trace: microseconds, a line for each thread."""
        lines = {thread: number for number, thread in enumerate(dict.fromkeys(event.thread for event in self.events))}
        events = [
            {"name": one.name, "ph": "X", "pid": os.getpid(), "tid": lines[one.thread]}
            | {"ts": round(1e6 * (one.begin - self.begun), 1), "dur": round(1e6 * one.seconds, 1)}
            for one in self.events
        ]
        with atomic_file(path) as file:
            file.write(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}).encode())


_record: Record | None = None


@contextmanager
def recorded() -> Iterator[Record]:
    """Spans of this process, whichever thread they are in, are kept until the end of what is inside."""
    global _record
    _record = Record()
    try:
        yield _record
    finally:
        _record = None


def listens() -> bool:
    """Whether spans are kept."""
    return _record is not None


def heard(events: list[Event], process: int) -> None:
    """What was recorded in another process of this machine, whose clock is the same; `process`: its number."""
    if _record is not None:
        for event in events:
            _record.take(event._replace(thread=hash((process, event.thread))))


def span(name: str, items: int = 0, device: torch.device | None = None) -> AbstractContextManager[None]:
    """What is inside is `name` of so many `items`; of work that a GPU does, its `device`, which is waited for."""
    return _NOTHING if _record is None else _spanned(_record, name, items, device)


@contextmanager
def _spanned(record: Record, name: str, items: int, device: torch.device | None) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        record.add(name, items, begin, time.perf_counter())
