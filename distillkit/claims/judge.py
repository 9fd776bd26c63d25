"""Claims to verdicts: the answers of all arms and seeds to the same items, in pairs, with Holm over the whole file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from distillkit.claims.answered import Rows
from distillkit.claims.file import Claim
from distillkit.claims.trials import Experiment
from distillkit.errors import TrainError
from distillkit.evals._answers import Answers, Measure
from distillkit.evaluation.clusters import Clusters, clusters, ends, resamples
from distillkit.evaluation.intervals import DRAWS
from distillkit.evaluation.paired import SWAPS, seeded_differences, seeded_interval
from distillkit.evaluation.verdicts import holm, stricter, verdict

HOLDS, NOT, UNSURE, WAITS = "holds", "does not hold", "not separable", "not run yet"
_ALL_ORDERS = 8  # arms whose 40,320 orders are all tried
_WORDS = {"better": HOLDS, "worse": NOT, "not separable": UNSURE}


@dataclass(frozen=True)
class Pair:
    """`one` minus `other`, with its paired 95 % interval; `adjusted` is p over all tests of the file.

    `holds`: the verdict by itself. An order is a pair of its arms and the arm they are better than. `seeds`: what
    each seed alone says.
    """

    one: str
    other: str
    value: float
    low: float | None
    high: float | None
    p: float
    adjusted: float
    holds: str
    why: str = ""
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Point:
    """An arm on a curve: its number, with the 95 % interval over items and seeds, None of one cluster of items."""

    x: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict. `items` were asked, of each of `seeds` runs. `remark`: the claim's own, of today.
    `more`: is better, of what its pairs tell.
    """

    text: str
    on: str
    by: float
    holds: str
    pairs: tuple[Pair, ...]
    items: int
    seeds: int
    curves: tuple[tuple[str, tuple[Point, ...]], ...] = ()
    across: str = ""
    why: str = ""
    remark: str = ""
    more: bool = True

    @property
    def measure(self) -> str:
        return self.on.partition(".")[2]


@dataclass(frozen=True)
class _Test:
    """A pair before Holm: what `verdict` wants to know."""

    pair: Pair
    error: float
    seeds: float
    items: int
    by: float
    more: bool
    freedom: float = np.inf  # of the part of seeds


def judge(experiment: Experiment) -> list[Judged]:
    """The verdict on every claim of the file, in its order. TrainError where an arm was not evaluated."""
    rows = Rows(experiment)
    tests = [_tests(claim, rows) if claim.waits is None else [] for claim in experiment.file.claims]
    p = np.array([test.pair.p for listed in tests for test in listed])
    raised = iter(zip(holm(p).tolist(), stricter(p).tolist(), strict=True))
    said = [[_said(test, *next(raised)) for test in listed] for listed in tests]
    return [
        _judged(claim, pairs, listed, rows, len(experiment.seeds))
        for claim, pairs, listed in zip(experiment.file.claims, said, tests, strict=True)
    ]


def _judged(claim: Claim, pairs: list[Pair], tests: list[_Test], rows: Rows, seeds: int) -> Judged:
    if claim.waits is not None:
        return Judged(claim.text, claim.on, claim.by, WAITS, (), 0, 0, why=claim.waits)
    words = {pair.holds for pair in pairs}
    holds = NOT if NOT in words else UNSURE if UNSURE in words else HOLDS
    curves = tuple((curve.name, _curve(claim, curve.arms, curve.x, rows)) for curve in claim.curves)
    first = tests[0]
    told = (claim.text, claim.on, claim.by, holds, tuple(pairs), first.items, seeds, curves, claim.across)
    return Judged(*told, more=first.more)


def _tests(claim: Claim, rows: Rows) -> list[_Test]:
    if claim.order:
        return [_order(claim, rows)]
    return [_pair(claim, one, other, rows) for one, other in claim.better]


def _pair(claim: Claim, one: str, other: str, rows: Rows) -> _Test:
    """`by` is taken off the first, so that the test asks whether the difference is more than that."""
    (ones, measure), (others, _) = (rows.of(name, claim.eval, claim.measure) for name in (one, other))
    _refuse_other_items(ones + others, claim)
    values, against = (_values(found, measure) for found in (ones, others))
    by = claim.by if measure.more else -claim.by
    found = seeded_differences(values - by, against, ones[0].group, np.array([measure.once]))
    low, high = (float(end[0]) + by if np.isfinite(end[0]) else None for end in (found.low, found.high))
    p = float(found.p[0])
    each = [_apart(one, two, ones[0], measure).mean[0] for one, two in zip(values, against, strict=True)]
    pair = Pair(one, other, float(found.value[0]) + by, low, high, p, p, UNSURE, seeds=tuple(map(float, each)))
    freedom = np.inf if found.freedom is None else float(found.freedom[0])
    return _Test(pair, float(found.error[0]), float(found.seeds[0]), len(ones[0].key), by, measure.more, freedom)


def _order(claim: Claim, rows: Rows) -> _Test:
    """Spearman's correlation of what the arms are better by than `than` with what the paper measured.

    p: among all orders of the arms, those that are as far from 0. The interval draws items again, all arms together.
    """
    assert claim.than is not None
    names = list(claim.order)
    found = [rows.of(name, claim.eval, claim.measure) for name in (*names, claim.than)]
    measure = found[0][1]
    _refuse_other_items([one for ones, _ in found for one in ones], claim)
    values = np.concatenate([_values(ones, measure) for ones, _ in found], axis=2)
    seeds = [_apart(one[:, :-1], one[:, -1:], found[0][0][0], measure).mean for one in values]
    means = values.mean(0)
    apart = _apart(means[:, :-1], means[:, -1:], found[0][0][0], measure)
    paper = np.array([claim.order[name] for name in names])
    sign = 1.0 if measure.more else -1.0
    rho = float(_spearman(sign * apart.mean[None], paper)[0])
    drawn = np.concatenate(
        [
            _spearman(sign * (part @ apart.totals / (part @ apart.weights)), paper)
            for part in resamples(len(apart), DRAWS)
        ]
    )
    low, high = ends(drawn[:, None], np.array([rho]), len(apart))
    p = _order_p(paper, rho)
    ends_ = tuple(float(np.clip(end[0], -1, 1)) if np.isfinite(end[0]) else None for end in (low, high))
    each = _spearman(sign * np.stack(seeds), paper)
    pair = Pair(", ".join(names), claim.than, rho, ends_[0], ends_[1], p, p, UNSURE, seeds=tuple(map(float, each)))
    return _Test(pair, float(drawn.std()), 0.0, len(found[0][0][0].key), 0.0, True)


def _apart(one: Float[np.ndarray, "n m"], other: Float[np.ndarray, "n m"], rows: Answers, measure: Measure) -> Clusters:
    """What arms say apart from each other, over the items of one seed."""
    return clusters(one - other, rows.group, np.full(one.shape[1], measure.once))


def _spearman(values: Float[np.ndarray, "r a"], paper: Float[np.ndarray, "a"]) -> Float[np.ndarray, "r"]:
    ranks, wanted = _ranks(values), _ranks(paper[None])
    ranks, wanted = (part - part.mean(1, keepdims=True) for part in (ranks, wanted))
    scale = np.sqrt((ranks**2).sum(1) * (wanted**2).sum(1))
    return np.divide((ranks * wanted).sum(1), scale, out=np.zeros(len(ranks)), where=scale > 0)


def _ranks(values: Float[np.ndarray, "r a"]) -> Float[np.ndarray, "r a"]:
    """Ranks from 1; equal values share theirs."""
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    return below + ((values[:, None, :] == values[:, :, None]).sum(2) + 1) / 2


def _order_p(paper: Float[np.ndarray, "a"], rho: float) -> float:
    """Few arms: all orders; else some that are drawn, and the one that was seen."""
    drawn = len(paper) > _ALL_ORDERS
    random = np.random.default_rng(0)
    tried = [random.permutation(len(paper)) for _ in range(SWAPS)] if drawn else [*permutations(range(len(paper)))]
    orders: Int[np.ndarray, "o a"] = np.array(tried)
    beyond = np.abs(_spearman(paper[orders], paper)) >= abs(rho) - 1e-9
    return float((beyond.sum() + drawn) / (len(orders) + drawn))


def _said(test: _Test, adjusted: float, times: int) -> Pair:
    pair = test.pair
    low, high = (np.nan if end is None else end - test.by for end in (pair.low, pair.high))
    found = verdict(
        value=pair.value - test.by,
        low=low,
        high=high,
        error=test.error,
        adjusted=adjusted,
        items=test.items,
        seeds=test.seeds,
        freedom=test.freedom,
        times=times,
        more_is_better=test.more,
    )
    return replace(pair, adjusted=adjusted, holds=_WORDS[found.word], why=found.why)


def _curve(claim: Claim, arms: Sequence[str], across: Sequence[float], rows: Rows) -> tuple[Point, ...]:
    points = []
    for name, x in zip(arms, across, strict=True):
        ones, measure = rows.of(name, claim.eval, claim.measure)
        values = _values(ones, measure)
        value = float(clusters(values.mean(0), ones[0].group, np.array([measure.once])).mean[0])
        ends_ = seeded_interval(values, ones[0].group, measure.once, share=measure.within is not None) or (None, None)
        points.append(Point(float(x), value, *ends_))
    return tuple(points)


def _values(found: Sequence[Answers], measure: Measure) -> Float[np.ndarray, "s n 1"]:
    return np.stack([one.values([measure]) for one in found])


def _refuse_other_items(found: Sequence[Answers], claim: Claim) -> None:
    first = list(found[0].key)
    if any(list(one.key) != first for one in found[1:]):
        raise TrainError(
            f"{claim.on}: the arms of {claim.text!r} were measured on different items; evaluate all on the same store"
        )
