"""What one network answered, a row for each item: numbers, intervals and comparisons are all made of these rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

BEST = 5  # answers that are kept of an item, the best first


How = Literal["mean", "median", "least", "ratio", "harmonic", "auc", "ap"]


@dataclass(frozen=True)
class Measure:
    """A number that is made of one column: its mean, its median, or its least value, over the items.

    Or of two, which then have a value for each class: "ratio" is the mean over classes of sum(`column`) / sum(`over`),
    "harmonic" their harmonic mean; "auc" and "ap" are areas under a curve, of scores `column` for hits `over`
    (evaluation/pooled.py has the formulas).

    `within`: the column is a rank (1 is the best), and what counts is the share of items that are within it. `once`:
    each group of items counts once, however many they are. `chance`: what guessing gives, where that is known;
    `majority`: what the most frequent class gives that is said of everything. `more`: is better.
    """

    name: str
    column: str
    how: How = "mean"
    within: int | None = None
    once: bool = False
    chance: float | None = None
    more: bool = True
    over: str | None = None
    majority: float | None = None

    @property
    def more_than_chance(self) -> float | None:
        """What the most frequent class gives, where that is more than guessing gives; else None."""
        known = self.majority is not None and self.majority > (self.chance or 0.0) + 1e-9
        return self.majority if known else None

    def of(self, column: np.ndarray) -> Float[np.ndarray, "n"]:
        """What each item gives to the number."""
        return np.asarray(column <= self.within if self.within is not None else column, np.float64)


@dataclass(frozen=True)
class Answers:
    """One network's rows of one table of an evaluation; `table` is its name where an evaluation has more than one.

    `key` names each item. `columns`: rank (which in the order of answers the right one is, from 1), margin (by how
    much it leads, below 0 where it does not), or whatever the measures are made of, with a value an item, or one an
    item and class. `best`: the answers that come first, as places in `names`, then -1 where there are no more, and
    `target`: the right one. `group`: items of one class or concept, which are not independent. `facts`: what no item
    has, such as how many classes there are.
    """

    key: Sequence[str]
    columns: dict[str, np.ndarray]
    measures: tuple[Measure, ...]
    target: Int[np.ndarray, "n"] | None = None
    group: Int[np.ndarray, "n"] | None = None
    best: Int[np.ndarray, "n k"] | None = None
    names: Sequence[str] | None = None
    table: str = ""
    facts: dict[str, float] = field(default_factory=dict)

    def values(self, measures: Sequence[Measure]) -> Float[np.ndarray, "n m"]:
        """What each item gives to each of these measures."""
        return np.stack([one.of(self.columns[one.column]) for one in measures], axis=1)

    def called(self, table: str) -> Answers:
        """The same as a table of its own, whose numbers begin with its name."""
        return replace(
            self,
            table=table,
            measures=tuple(replace(one, name=f"{table} {one.name}") for one in self.measures),
            facts={f"{table} {name}": value for name, value in self.facts.items()},
        )
