"""Two callables timed in turn, A B A B ..., so that a machine whose speed drifts does not decide the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: `ratio` of `ours` to `theirs` in `unit`, median of the rounds, with its extremes."""

    name: str
    ratio: float
    low: float
    high: float
    goal: str
    met: bool
    ours: float
    theirs: float
    unit: str
    rounds: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    goal: float,
    amount: float = 1.0,
    unit: str = "s",
    rounds: int = 5,
    speed: bool = True,
) -> Row:
    """The median ratio of interleaved rounds, after one uncounted round of each.

    `speed`: ratio of rates, `amount` per second, and `goal` is a floor; else of times, and `goal` is a ceiling.
    """
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    ratios = [b / a if speed else a / b for a, b in pairs]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    return Row(
        name=name,
        ratio=round(ratio, 4),
        low=round(min(ratios), 4),
        high=round(max(ratios), 4),
        goal=f"{'>=' if speed else '<='} {goal}",
        met=ratio >= goal if speed else ratio <= goal,
        ours=round(amount / mine if speed else mine, 6),
        theirs=round(amount / other if speed else other, 6),
        unit=unit,
        rounds=rounds,
    )
