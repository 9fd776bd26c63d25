"""What is drawn again when chance is asked: clusters of items. Two images of one concept are not two opinions.

A mean over items is sum(totals) / sum(weights) over clusters, and so is a mean in which every cluster counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit

from distillkit.evals._answers import Answers

MOST = 10_000  # clusters; beyond, clusters are joined at random, which changes no expectation of a variance
FEW = 20  # clusters; below, the spread of resampled values is used and not their percentiles
_CELLS = 4_000_000  # numbers in memory at once


@dataclass(frozen=True)
class Clusters:
    """Sums over the items of each cluster, a column a measure, and what each cluster counts."""

    totals: Float[np.ndarray, "g m"]
    weights: Float[np.ndarray, "g m"]

    def __len__(self) -> int:
        return len(self.totals)

    @property
    def mean(self) -> Float[np.ndarray, "m"]:
        return self.totals.sum(0) / self.weights.sum(0)


def clusters(
    values: Float[np.ndarray, "n m"], group: Int[np.ndarray, "n"] | None = None, once: np.ndarray | None = None
) -> Clusters:
    """Items of one `group` together; without, each item alone. `once`: bool [m], columns where a group counts once."""
    values = np.asarray(values, np.float64)
    if group is None:
        group = np.arange(len(values))
    _, place = np.unique(group, return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    totals = np.stack([np.bincount(place, column) for column in values.T], 1)
    weights = np.repeat(counts[:, None], values.shape[1], 1)
    if once is not None and once.any():
        totals[:, once] = totals[:, once] / counts[:, None]
        weights[:, once] = 1.0
    return _joined(Clusters(totals, weights))


def independent(answers: Answers) -> int:
    """How many groups of items there are, of which none depends on another."""
    return len(answers.key) if answers.group is None else len(np.unique(answers.group))


def _joined(found: Clusters) -> Clusters:
    """The same sums in at most MOST clusters."""
    if len(found) <= MOST:
        return found
    place = np.random.default_rng(0).permutation(len(found)) % MOST

    def summed(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(place, column, MOST) for column in values.T], 1)

    return Clusters(summed(found.totals), summed(found.weights))


def resamples(count: int, draws: int) -> Iterator[Float[np.ndarray, "r g"]]:
    """How often each of `count` clusters is drawn when as many are drawn with replacement; `draws` rows in parts."""
    random, part = np.random.default_rng(0), max(_CELLS // count, 1)
    for start in range(0, draws, part):
        rows = min(part, draws - start)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def ends(
    found: Float[np.ndarray, "r m"],
    centre: Float[np.ndarray, "m"],
    count: int,
    level: float = 0.95,
    *,
    biased: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of an interval from resampled values of `centre`, which rests on `count` clusters.

    Percentiles, widened: those of a bootstrap are too narrow by sqrt((g - 1) / g), and as if the variance were known.
    So they are taken as far out as Student's t goes (Hesterberg 2015, https://arxiv.org/abs/1411.5279, section 4).
    A handful of clusters can be drawn in too few ways for percentiles: there the interval is Student's t itself.

    `biased`: few items make the number too high, in those that were asked and, once more, in those that are drawn from
    them. So both ends are moved by twice the distance from the median of `found` to `centre`. Efron's correction (1987,
    https://doi.org/10.2307/2289144) takes other percentiles instead. Where all of `found` lies above `centre`, as for a
    mean over many classes that are each too high, there are none to take: the interval had no width, above the truth.
    """
    if count < 2:
        blank = np.full(found.shape[1], np.nan)
        return blank, blank
    away, wider = stdtrit(count - 1, (1 - level) / 2), np.sqrt(count / (count - 1))
    if count < FEW:
        half = -away * wider * found.std(0)
        return centre - half, centre + half
    low, high = np.quantile(found, [ndtr(wider * away), ndtr(-wider * away)], axis=0)
    moved = 2 * (np.median(found, 0) - centre) if biased else 0.0
    return low - moved, high - moved
