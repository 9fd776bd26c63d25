"""Numbers that are no mean over items: made of all items at once, and again of items that are drawn again.

    median  of a column
    ratio   mean over classes of sum(column) / sum(over); a class whose `over` sums to 0 is left out
    harmonic  their harmonic mean, 0 where one of them is 0
    auc     mean over classes of the area under the ROC curve of the scores `column`: how often an item of the class
            is scored above one that is not, equal scores counting half
    ap      mean over classes of the mean, over recalls 0, 0.1, ... 1, of the best precision at that recall or a higher
            one: PASCAL VOC 2007's (Everingham et al. 2010, https://doi.org/10.1007/s11263-009-0275-4, section 4.2).
            Items of equal scores are found together, whatever their order: who says the same of all has the share of
            the hits

The last two take hits `over` of 1 and 0, and leave out what is -1; a class without a hit is left out, and of auc one
without anything else. They tell classes apart, so items are drawn again, and not whole classes of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.clusters import ends, resamples
from distillkit.evaluation.intervals import DRAWS, resampled_medians

POOLED = ("median", "ratio", "harmonic", "auc", "ap")
_RECALLS = np.arange(11) / 10

# How often each item counts, a row a draw, to a number a draw.
_Curve = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def pooled(answers: Answers, measure: Measure) -> float:
    """Of all items once; NaN where no class can be measured."""
    if measure.how == "median":
        return float(np.median(answers.columns[measure.column]))
    return float(_again(answers, measure, np.ones((1, len(answers.key))))[0])


def pooled_interval(answers: Answers, measure: Measure) -> tuple[float, float]:
    """The 95 % interval, by drawing items again, those of one group together."""
    found = drawn_again(answers, measure)
    found = found[np.isfinite(found)]  # a draw without any item of a class says nothing
    if not len(found):
        return np.nan, np.nan
    centre, count = np.array([pooled(answers, measure)]), opinions(answers, measure)
    # The best precision of many is a lucky one: in few items, and more so in those that are drawn again from them.
    low, high = ends(found[:, None], centre, count, biased=measure.how == "ap")
    if measure.how != "median":
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return float(low[0]), float(high[0])


def drawn_again(answers: Answers, measure: Measure) -> Float[np.ndarray, "r"]:
    """The number each time that items were drawn again; the same draws for the same items."""
    if measure.how == "median":
        return resampled_medians(np.asarray(answers.columns[measure.column], np.float64), answers.group)
    place = _clusters(answers, measure)
    parts = resamples(int(place.max()) + 1, DRAWS)
    return np.concatenate([_again(answers, measure, part[:, place]) for part in parts])


def opinions(answers: Answers, measure: Measure) -> int:
    """How many independent ones it rests on."""
    return int(_clusters(answers, measure).max()) + 1


def _clusters(answers: Answers, measure: Measure) -> Int[np.ndarray, "n"]:
    """Which cluster each item is drawn with."""
    if answers.group is None or measure.how in ("auc", "ap"):
        return np.arange(len(answers.key))
    return np.unique(answers.group, return_inverse=True)[1]


def _again(answers: Answers, measure: Measure, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r"]:
    assert measure.over is not None
    column, over = (_by_class(answers.columns[name]) for name in (measure.column, measure.over))
    if measure.how in ("ratio", "harmonic"):
        found = _divided(weights @ column, weights @ over)
        if measure.how == "harmonic":
            return _harmonic(found)
    else:
        curve: _Curve = _area if measure.how == "auc" else _precision
        classes = zip(column.T, over.T, strict=True)
        found = np.stack([_of_known(curve, score, hit, weights) for score, hit in classes], 1)
    known = np.isfinite(found)
    return _divided(np.where(known, found, 0).sum(1), known.sum(1))


def _harmonic(shares: Float[np.ndarray, "r c"]) -> Float[np.ndarray, "r"]:
    with np.errstate(divide="ignore"):
        return np.asarray(shares.shape[1] / (1 / shares).sum(1))


def _by_class(column: np.ndarray) -> Float[np.ndarray, "n c"]:
    return np.asarray(column, np.float64).reshape(len(column), -1)


def _divided(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.divide(one, other, out=np.full(np.shape(one), np.nan), where=other != 0)


def _of_known(curve: _Curve, score: np.ndarray, hit: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "r"]:
    """Items in the order of their scores, the highest first, without those that are left out."""
    known = np.flatnonzero(hit >= 0)
    order = known[np.argsort(-score[known], kind="stable")]
    return curve(score[order], hit[order], weights[:, order])


def _area(score: np.ndarray, hit: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "r"]:
    right, wrong = weights * hit, weights * (1 - hit)
    if not len(score):
        return np.full(len(weights), np.nan)
    starts = np.flatnonzero(np.r_[True, np.diff(score) != 0])  # of equal scores together
    right, wrong = (np.add.reduceat(part, starts, axis=1) for part in (right, wrong))
    above = np.cumsum(right, 1) - right / 2
    return _divided((wrong * above).sum(1), right.sum(1) * wrong.sum(1))


def _precision(score: np.ndarray, hit: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "r"]:
    if not len(score):
        return np.full(len(weights), np.nan)
    ends = np.flatnonzero(np.r_[np.diff(score) != 0, True])  # of equal scores the last
    found, shown = (np.cumsum(part, 1)[:, ends] for part in (weights * hit, weights))
    total = found[:, -1:]
    precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    rows = np.arange(len(weights))
    at = [best[rows, (recall < one - 1e-12).sum(1).clip(max=len(ends) - 1)] for one in _RECALLS]
    return np.where(total[:, 0] > 0, np.mean(at, axis=0), np.nan)
