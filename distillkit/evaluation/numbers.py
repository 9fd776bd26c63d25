"""Rows to numbers: each measure of a network with its 95 % interval, the independent groups of items that rests on, and
chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.clusters import clusters, independent
from distillkit.evaluation.intervals import mean_intervals
from distillkit.evaluation.pooled import POOLED, opinions, pooled, pooled_interval

Numbers = dict[str, float]
DETAILS = (
    ".low",
    ".high",
    ".groups",
    ".chance",
    ".majority",
)  # what stands beside a number, under its name and one of these


def numbers(result: Numbers | Sequence[Answers]) -> Numbers:
    """What an evaluation found, as named numbers; one that gives numbers itself gave them."""
    if isinstance(result, dict):
        return result
    found: Numbers = {}
    for answers in result:
        found |= answers.facts | _measured(answers)
    return found


def _measured(answers: Answers) -> Numbers:
    """In the order of the measures: `x`, and where there are such, `x` with each of DETAILS behind it."""
    means = [measure for measure in answers.measures if measure.how == "mean"]
    found = dict(zip((one.name for one in means), _means(answers, means), strict=True))
    for measure in answers.measures:
        if measure.how in POOLED:
            found[measure.name] = (pooled(answers, measure), *pooled_interval(answers, measure))
        elif measure.how == "least":
            found[measure.name] = (float(answers.columns[measure.column].min()), math.nan, math.nan)
    told: Numbers = {}
    for measure in answers.measures:
        value, low, high = found[measure.name]
        told[measure.name] = value
        if math.isfinite(low):
            told |= {f"{measure.name}.low": min(low, value), f"{measure.name}.high": max(high, value)}
            told[f"{measure.name}.groups"] = float(_groups(answers, measure))
        if measure.chance is not None:
            told[f"{measure.name}.chance"] = measure.chance
        if measure.more_than_chance is not None:
            told[f"{measure.name}.majority"] = measure.more_than_chance
    return told


def _groups(answers: Answers, measure: Measure) -> int:
    return opinions(answers, measure) if measure.how in POOLED else independent(answers)


def _means(answers: Answers, means: list[Measure]) -> list[tuple[float, float, float]]:
    if not means:
        return []
    values, once = answers.values(means), np.array([measure.once for measure in means])
    low, high = mean_intervals(values, answers.group, once)
    return list(zip(clusters(values, answers.group, once).mean.tolist(), low.tolist(), high.tolist(), strict=True))
