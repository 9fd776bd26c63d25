"""Measures of two arms tested in pairs, and the verdicts over a whole table of such tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.comparison import Against, Line
from distillkit.evaluation.paired import Differences, mean_differences, pooled_difference, seeded_differences
from distillkit.evaluation.pooled import POOLED
from distillkit.evaluation.verdicts import Verdict, holm, stricter, verdict


def against(
    ones: Sequence[Answers], others: Sequence[Answers], measures: Sequence[Measure], *, fixed: bool = False
) -> list[Against | None]:
    """First minus second, each a run or several seeds of it, judged as if each measure were the only one. `fixed`: one
    of them is a teacher, of which there are no seeds.

    Means have a test always, what is made of all items at once where there is one run each, least values never.
    """
    tests: list[Against | None] = [None] * len(measures)
    group, items = ones[0].group, len(ones[0].key)
    means = [place for place, measure in enumerate(measures) if measure.how == "mean"]
    if means:
        chosen = [measures[place] for place in means]
        values, against = (np.stack([one.values(chosen) for one in runs]) for runs in (ones, others))
        once = np.array([measure.once for measure in chosen])
        if len(values) == len(against) == 1:
            found = mean_differences(values[0], against[0], group, once)
        else:
            found = seeded_differences(values, against, group, once, fixed=fixed)
        for column, place in enumerate(means):
            tests[place] = _alone(found, column, measures[place], items)
    for place, measure in enumerate(measures):
        if measure.how in POOLED and len(ones) == len(others) == 1:
            tests[place] = _alone(pooled_difference(ones[0], others[0], measure), 0, measure, items)
    return tests


def judged(lines: Sequence[Line]) -> list[Line]:
    """The same lines, where each verdict knows how many others were asked for (Holm over all of them)."""
    tests = [(n, who, cell.against) for n, line in enumerate(lines) for who, cell in line.cells.items() if cell.against]
    raised = holm(np.array([test.p for _, _, test in tests]))
    made = [dict(line.cells) for line in lines]
    times = stricter(np.array([test.p for _, _, test in tests])).tolist()
    for (n, who, test), adjusted, often in zip(tests, raised.tolist(), times, strict=True):
        said = _said(test, lines[n].measure, lines[n].items, adjusted, often)
        made[n][who] = replace(made[n][who], against=said)
    return [replace(line, cells=cells) for line, cells in zip(lines, made, strict=True)]


def _alone(found: Differences, column: int, measure: Measure, items: int) -> Against:
    value, low, high, p, error, seeds = (
        float(part[column]) for part in (found.value, found.low, found.high, found.p, found.error, found.seeds)
    )
    known = bool(np.isfinite(low))
    if known and measure.within is not None:  # two shares of items: Student's t knows no ends, their difference does
        low, high = max(low, -1.0), min(high, 1.0)
    unsaid = Verdict("not separable", p)
    freedom = None if found.freedom is None else float(found.freedom[column])
    ends = (low if known else None, high if known else None)
    test = Against(value, ends[0], ends[1], p, error, seeds, found.clusters, unsaid, freedom)
    return _said(test, measure, items, p)


def _said(test: Against, measure: Measure, items: int, adjusted: float, times: int = 1) -> Against:
    said = verdict(
        value=test.value,
        low=np.nan if test.low is None else test.low,
        high=np.nan if test.high is None else test.high,
        error=test.error,
        adjusted=adjusted,
        items=items,
        seeds=test.seeds,
        freedom=np.inf if test.freedom is None else test.freedom,
        times=times,
        more_is_better=measure.more,
        groups=test.groups,
    )
    return replace(test, verdict=said)
