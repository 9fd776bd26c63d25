"""Is one better than the other on the same items? What both get right, or both wrong, says nothing and is left out.

difference  the mean of one minus the mean of the other
interval    drawing the items again, both answers of an item together
p           how often a difference as large would come if, cluster by cluster, chance alone said whose answer is whose.
            Of hits without clusters this is McNemar's exact test, and that is what is computed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.special import bdtr, stdtr, stdtrit

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.clusters import clusters, ends, resamples
from distillkit.evaluation.intervals import DRAWS, mean_intervals
from distillkit.evaluation.pooled import drawn_again, opinions, pooled

SWAPS = 10_000
_ENUMERATED = 13  # clusters whose 2 ** 13 ways of swapping are all tried
_CELLS = 4_000_000
_HALVINGS = 26  # of 30 powers of ten


@dataclass(frozen=True)
class Differences:
    """For each measure: first minus second, its 95 % interval, the standard error behind it, and p, two-sided.

    `clusters`: how many independent opinions that rests on. `seeds`: the part of the error's square that more items
    would not make smaller; `freedom`: its degrees of freedom.
    """

    value: Float[np.ndarray, "m"]
    low: Float[np.ndarray, "m"]
    high: Float[np.ndarray, "m"]
    error: Float[np.ndarray, "m"]
    p: Float[np.ndarray, "m"]
    clusters: int
    seeds: Float[np.ndarray, "m"]
    freedom: Float[np.ndarray, "m"] | None = None


def mean_differences(
    one: Float[np.ndarray, "n m"],
    other: Float[np.ndarray, "n m"],
    group: Int[np.ndarray, "n"] | None = None,
    once: np.ndarray | None = None,
) -> Differences:
    """Means of two networks' answers to the same n items, in m measures. `group`, `once`: see clusters.py."""
    apart = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    found = clusters(apart, group, once)
    drawn = np.concatenate([part @ found.totals / (part @ found.weights) for part in resamples(len(found), DRAWS)])
    low, high = ends(drawn, found.mean, len(found))
    p = swap_p(found.totals)
    if group is None or len(np.unique(group)) == len(apart):
        hits = np.isin(apart, (-1.0, 0.0, 1.0)).all(0)
        p[hits] = mcnemar_p((apart > 0).sum(0), (apart < 0).sum(0))[hits]
    return Differences(found.mean, low, high, drawn.std(0), p, len(found), np.zeros(len(p)))


def pooled_difference(one: Answers, other: Answers, measure: Measure) -> Differences:
    """The same of what is no mean of rows; p from the resampled differences, since of medians swapping leaves many
    ties, and of sums over classes it is no fair coin's.
    """
    count = opinions(one, measure)
    drawn = drawn_again(one, measure) - drawn_again(other, measure)
    drawn = drawn[np.isfinite(drawn)]
    value = np.array([pooled(one, measure) - pooled(other, measure)])
    if not len(drawn):
        blank = np.full(1, np.nan)
        return Differences(value, blank, blank, np.zeros(1), np.ones(1), count, np.zeros(1))
    low, high = ends(drawn[:, None], value, count)
    beyond = min((drawn <= 0).mean(), (drawn >= 0).mean())
    p = np.array([min(2 * max(float(beyond), 1 / DRAWS), 1.0)])
    return Differences(value, low, high, drawn.std(keepdims=True), p, count, np.zeros(1))


def seeded_differences(
    ones: Float[np.ndarray, "s n m"],
    others: Float[np.ndarray, "t n m"],
    group: Int[np.ndarray, "n"] | None = None,
    once: np.ndarray | None = None,
    *,
    fixed: bool = False,
) -> Differences:
    """Means over seeds and items, where recipes were run with several seeds.

    Two or three seeds are too few to be drawn again: what is drawn is items, and the spread of the seeds' means is
    added to the variance, with Student's t at the degrees of freedom of Welch and Satterthwaite. A recipe that was run
    once does not tell how its seeds spread: they are taken to spread as the other's. `fixed`: what is there once has no
    seeds that could have been others, as a teacher has none. Where only one tells, those degrees of freedom cry wolf in
    up to 13 of 100: each part of the variance is taken as far out as its own t. One cluster of items has no spread that
    could be known, and no seeds make up for it.
    """
    both = mean_differences(ones.mean(0), others.mean(0), group, once)
    if both.clusters < 2:
        blank = np.full_like(both.value, np.nan)
        return replace(both, low=blank, high=blank, p=np.ones_like(both.p))
    # As widened as percentiles are, see `ends`.
    items = both.error**2 * both.clusters / (both.clusters - 1)
    parts = [(items, both.clusters - 1)]
    several = [runs for runs in (ones, others) if len(runs) > 1]
    untold = 0.0 if fixed or len(several) == 2 else 1.0
    for runs in several:
        means = np.stack([clusters(run, group, once).mean for run in runs])
        parts.append((means.var(0, ddof=1) * (1 / len(runs) + untold), len(runs) - 1))
    if len(parts) == 1:
        return both
    total = np.sum([part for part, _ in parts], axis=0)
    error = np.sqrt(total)
    if len(several) == 1:
        half, p = np.sqrt(_squared(parts, np.full_like(total, 0.05))), _reached(parts, both.value)
    else:
        freedom = _welch(parts)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(error > 0, np.abs(both.value) / error, np.where(both.value == 0, 0.0, np.inf))
        half, p = -stdtrit(freedom, 0.025) * error, 2 * stdtr(freedom, -away)
    return Differences(
        both.value, both.value - half, both.value + half, error, p, both.clusters, total - items, _welch(parts[1:])
    )


def _welch(parts: list[tuple[np.ndarray, int]]) -> Float[np.ndarray, "m"]:
    """Degrees of freedom of a variance that is a sum of such parts (Welch and Satterthwaite)."""
    total = np.sum([part for part, _ in parts], axis=0)
    scale = np.maximum(np.sum([part**2 / max(freedom, 1) for part, freedom in parts], axis=0), 1e-300)
    return np.asarray(np.maximum(total**2 / scale, 1.0))


def _squared(parts: list[tuple[np.ndarray, int]], p: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """The square of half an interval of level 1 - p: each part of the variance times its own t^2 (Howe 1974, Journal of
    the American Statistical Association 69, pages 789 to 794).
    """
    return np.sum([stdtrit(freedom, p / 2) ** 2 * part for part, freedom in parts], axis=0)


def _reached(parts: list[tuple[np.ndarray, int]], value: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """The p at which such an interval ends at 0: found by halving, to a part in a million."""
    low, high = np.full_like(value, -30.0), np.zeros_like(value)  # powers of ten
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = _squared(parts, 10.0**middle) >= value**2
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(value == 0, 1.0, np.where(np.isnan(value), np.nan, 10.0**high))


def seeded_interval(
    values: Float[np.ndarray, "s n 1"], group: Int[np.ndarray, "n"] | None, once: bool, *, share: bool
) -> tuple[float, float] | None:
    """The 95 % interval of the mean over several seeds and items of one measure; None of one cluster of items.

    `share`: of 0 to 1, whose ends Student's t does not know. Where all seeds are right of every item, or none is of
    any, no seed and no item tells a spread: there it is the interval of one run.
    """
    found = seeded_differences(values, np.zeros_like(values[:1]), group, np.array([once]), fixed=True)
    if not np.isfinite(found.low[0]):
        return None
    low, high = float(found.low[0]), float(found.high[0])
    if (values == 0).all() or (values == 1).all():
        low, high = (float(end[0]) for end in mean_intervals(values[0], group, np.array([once])))
    return (max(low, 0.0), min(high, 1.0)) if share else (low, high)


def mcnemar_p(only_one: np.ndarray, only_other: np.ndarray) -> np.ndarray:
    """McNemar's exact two-sided p: of the items that one alone gets right, is either's share a fair coin's?"""
    less, both = np.minimum(only_one, only_other), only_one + only_other
    return np.where(both == 0, 1.0, np.minimum(2 * bdtr(less, np.maximum(both, 1), 0.5), 1.0))


def swap_p(totals: Float[np.ndarray, "g m"]) -> Float[np.ndarray, "m"]:
    """How often a sum is as far from 0 when each cluster's sign is a coin's. Few clusters: all ways, else SWAPS."""
    seen = np.abs(totals.sum(0))
    slack = 1e-9 * np.abs(totals).sum(0)
    count = beyond = 0
    for signs in _signs(len(totals)):
        beyond = beyond + (np.abs(signs @ totals) >= seen - slack).sum(0)
        count += len(signs)
    if len(totals) > _ENUMERATED:  # what was seen is one of the ways
        count, beyond = count + 1, beyond + 1
    return np.asarray(beyond / count, np.float64)


def _signs(count: int) -> Iterator[Float[np.ndarray, "r g"]]:
    if count <= _ENUMERATED:
        ways = np.arange(2**count)[:, None] >> np.arange(count)
        yield 1.0 - 2.0 * (ways & 1)
        return
    random, part = np.random.default_rng(0), max(_CELLS // count, 1)
    for start in range(0, SWAPS, part):
        yield 1.0 - 2.0 * random.integers(2, size=(min(part, SWAPS - start), count), dtype=np.int8)
