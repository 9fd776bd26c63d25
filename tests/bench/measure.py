"""Two callables timed in turn, A B A B ..., so that a machine whose speed drifts does not decide the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Row:
    """One line of the table: `ratio` of `ours` to `theirs` in `unit`, median of the rounds, with its extremes.

    A row that is no ratio has `ours` with its extremes. What could not be measured has neither, and `note` says why.
    """

    name: str
    goal: str
    met: bool | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ours: float | None = None
    theirs: float | None = None
    unit: str = ""
    rounds: int = 0
    note: str = ""

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
    goal: float = 0.0,
    amount: float = 1.0,
    their_amount: float | None = None,
    unit: str = "s",
    rounds: int = 5,
    speed: bool = True,
    prepare: Callable[[], object] = lambda: None,
) -> Row:
    """The median ratio of interleaved rounds, after one uncounted round of each; `prepare` comes before each, untimed.

    `speed`: ratio of rates, `amount` per second (of theirs `their_amount`, where it is another), and `goal` is a floor;
    else of times, and `goal` is a ceiling.
    """

    def timed(work: Callable[[], object]) -> float:
        prepare()
        return seconds(work)

    timed(ours), timed(theirs)
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    if speed:
        pairs = [(amount / a, (their_amount or amount) / b) for a, b in pairs]
    return of_pairs(name, pairs, goal=goal, unit=unit, speed=speed)


def of_pairs(
    name: str, pairs: Sequence[tuple[float, float]], *, goal: float, unit: str = "s", speed: bool = True
) -> Row:
    """The same of rounds that were measured elsewhere, each ours and theirs: rates, or times where not `speed`."""
    ratios = [a / b for a, b in pairs]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    return Row(
        name=name,
        goal=f"{'>=' if speed else '<='} {goal:g}",
        met=ratio >= goal if speed else ratio <= goal,
        ratio=round(ratio, 4),
        low=round(min(ratios), 4),
        high=round(max(ratios), 4),
        ours=round(mine, 6),
        theirs=round(other, 6),
        unit=unit,
        rounds=len(pairs),
    )


def limit(row: Row) -> Row:
    """A row that is nobody's goal: it says what the rows above it could reach at most on this machine."""
    return replace(row, goal="", met=None, note="limit")


def at_most(name: str, values: Sequence[float], limit: float, unit: str) -> Row:
    """A number that is no ratio, such as milliseconds or bytes: the median of `values` against a ceiling."""
    value = statistics.median(values)
    goal, low, high = f"<= {limit:g} {unit}", round(min(values), 4), round(max(values), 4)
    return Row(name, goal, value <= limit, None, low, high, round(value, 4), unit=unit, rounds=len(values))


def at_least(name: str, values: Sequence[float], limit: float, unit: str) -> Row:
    """The same against a floor."""
    row = at_most(name, values, limit, unit)
    return replace(row, goal=f">= {limit:g} {unit}".rstrip(), met=statistics.median(values) >= limit)


NOT_INSTALLED = "peer not installed"


def needs_gpu(name: str, goal: str) -> Row:
    """The row of a machine that has no GPU."""
    return Row(name, goal, note="needs a GPU")


def not_installed(name: str, goal: float) -> Row:
    """The row of a peer that this machine does not have."""
    return Row(name, f">= {goal:g}", note=NOT_INSTALLED)
