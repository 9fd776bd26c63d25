"""A comparison as values: whose recipes differ in what, and for every measure who is better, by how much, how surely.

Rendering is elsewhere (report/comparison.py); whoever draws another page reads these values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distillkit.evals._answers import Measure
from distillkit.evaluation.measured import Measured
from distillkit.evaluation.verdicts import Verdict


@dataclass(frozen=True)
class Arm:
    """One recipe: a run, or several that differ by their seed alone; or the teacher, which has no run.

    `differs`: what is other than in the first arm's recipe, as `key: old -> new`.
    """

    name: str
    runs: tuple[Measured, ...]
    seeds: tuple[int, ...] = ()
    differs: tuple[str, ...] = ()
    parameters: int | None = None
    file_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Against:
    """An arm's number minus the first arm's, on the same items, with its paired 95 % interval, p, and what that says.

    `error`: the standard error behind it; `seeds`: the part of its square that more items would not make smaller.
    `groups`: how many independent groups of items that rests on. `freedom`: degrees of freedom of the part of seeds,
    None where there are none.
    """

    value: float
    low: float | None
    high: float | None
    p: float
    error: float
    seeds: float
    groups: int
    verdict: Verdict
    freedom: float | None = None


@dataclass(frozen=True)
class Cell:
    """An arm's number with its own interval; `against` is None of the first arm, and where there is no test."""

    value: float
    low: float | None = None
    high: float | None = None
    against: Against | None = None


@dataclass(frozen=True)
class Line:
    """One measure of one table of an evaluation. `items` were asked, in `clusters` that are independent; `unshown` of
    them are of classes that nobody could learn, for want of an example.
    """

    eval: str
    table: str
    measure: Measure
    items: int
    clusters: int
    cells: dict[str, Cell]
    unshown: int = 0

    @property
    def share(self) -> bool:
        """Whether the number is a share, told in percent: those of which chance is known are."""
        return self.measure.chance is not None


@dataclass(frozen=True)
class Comparison:
    """`arms`: the first is the baseline of the comparison. `notes`: what was left out, and why; `apart`: the evals
    among it in which not all were asked the same, so that nobody's items stand beside another's.
    """

    arms: tuple[Arm, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())
    apart: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """In short: there is a line for every number of every evaluation."""
        return f"Comparison(arms={[arm.name for arm in self.arms]}, {len(self.lines)} lines)"

    @property
    def baseline(self) -> Arm:
        return self.arms[0]

    @property
    def tests(self) -> int:
        """How many tests Holm's correction is over."""
        return sum(cell.against is not None for line in self.lines for cell in line.cells.values())
