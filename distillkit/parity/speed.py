"""How fast networks answer: all are asked in turn, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.errors import DistillkitError
from distillkit.parity.subjects import Ask, Subject, memory_of
from distillkit.system.progress import Progress
from distillkit.system.workers import Apart, begin_worker

_ROUNDS = 5
_TOWERS = ("image", "text")
_LEAST = 0.05  # seconds of one measurement; what is quicker is asked several times


@dataclass(frozen=True)
class Speed:
    """Of one network: seconds for one picture or text alone, and how many a second in batches; None: no such tower."""

    who: str
    runtime: str
    file_bytes: int
    memory_bytes: int | None = None
    image_seconds: float | None = None
    images_per_second: float | None = None
    text_seconds: float | None = None
    texts_per_second: float | None = None
    is_teacher: bool = False  # told by this, as a run may be called so as well

    @property
    def told(self) -> dict[str, Any]:
        return asdict(self)


def measured(subjects: Sequence[Subject], batch: int, say: Say) -> list[Speed]:
    """Medians over rounds in which every network is asked once."""
    found = [Speed(one.who, one.runtime, one.file_bytes, is_teacher=one.is_teacher) for one in subjects]
    having = {tower: [place for place, one in enumerate(subjects) if tower in one.towers] for tower in _TOWERS}
    # Pictures of a batch are most of the time: progress goes by pictures and texts.
    total = sum(len(places) * (1 + batch) * (_ROUNDS + 2) for places in having.values())
    with Progress("pictures and texts asked about:", total, say) as progress:
        for tower, places in having.items():
            for count in (1, batch):
                asks = [subjects[place].ask(tower, count) for place in places]
                for place, seconds in zip(places, _in_turn(asks, count, progress), strict=True):
                    name = f"{tower}_seconds" if count == 1 else f"{tower}s_per_second"
                    value = seconds if count == 1 else count / seconds
                    found[place] = replace(found[place], **{name: value})  # type: ignore[arg-type]
    return found


def _in_turn(asks: Sequence[Ask], count: int, progress: Progress) -> list[float]:
    """Seconds of one call of each, of `count` pictures or texts."""

    def timed(ask: Ask, times: int) -> float:
        seconds = _seconds(ask, times)
        progress.advance(count)
        return seconds

    repeats = []
    for ask in asks:
        timed(ask, 1)  # what is made at the first call
        repeats.append(max(1, round(_LEAST / max(timed(ask, 1), 1e-6))))
    rounds = [[timed(ask, times) for ask, times in zip(asks, repeats, strict=True)] for _ in range(_ROUNDS)]
    return [statistics.median(one) for one in zip(*rounds, strict=True)]


def _seconds(ask: Ask, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        ask()
    return (time.perf_counter() - begun) / times


def memory(run: Path, runtime: str, folder: Path | None, threads: int, batch: int) -> int:
    """Measured in a fresh process, which nothing else has filled."""
    with ProcessPoolExecutor(1, Apart(), begin_worker) as pool:
        try:
            return pool.submit(memory_of, run, runtime, folder, threads, batch).result()
        except BrokenProcessPool as broken:
            raise DistillkitError(
                f"{run}: the process that measures its memory died, most likely for want of it; leave memory out "
                "(--no-memory), or lower batch (--batch)"
            ) from broken
