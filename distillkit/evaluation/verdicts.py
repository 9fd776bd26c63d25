"""What a test comes to in words, over a whole table of tests, and how many items would tell where these do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

from distillkit.evaluation.clusters import FEW
from distillkit.system.wording import count

LEVEL = 0.05
_LARGE = 1e6  # degrees of freedom, where Student's t is the normal
_POWER = 0.8416  # of the normal: found in 80 % of draws


@dataclass(frozen=True)
class Verdict:
    """`word`: better, worse or not separable. `adjusted`: p after Holm. `items`: how many it would take, where not
    separable, to find a difference of this size in 4 of 5 draws; None where no number would.
    """

    word: str
    adjusted: float
    items: int | None = None
    why: str = ""

    @property
    def told(self) -> str:
        """In a sentence's place: "better", or "not separable (it would take about 3,100 items)"."""
        return self.word if not self.why else f"{self.word} ({self.why})"


def holm(p: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """p for each of m tests such that all of them together give a false alarm as rarely as one alone (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    raised = np.minimum(p[order] * (len(p) - np.arange(len(p))), 1.0)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(raised) if len(p) else raised
    return adjusted


def stricter(p: Float[np.ndarray, "m"]) -> Int[np.ndarray, "m"]:
    """By how much Holm multiplies each of m p: how many are not smaller, nor is what is no number."""
    return np.asarray((~(p[None] < p[:, None])).sum(1))


def verdict(
    *,
    value: float,
    low: float,
    high: float,
    error: float,
    adjusted: float,
    items: int,
    seeds: float = 0.0,
    freedom: float = math.inf,
    times: int = 1,
    more_is_better: bool = True,
    groups: int | None = None,
) -> Verdict:
    """Of one difference, over `items` items, which are of so many independent `groups` where that is known. Only what
    the test and the interval both say is said.

    `seeds`: the part of the squared error that is of seeds, with so much `freedom`. `times`: what Holm multiplies p by
    (see `stricter`), of which more items are told to be enough.
    """
    if not math.isfinite(low):
        return Verdict("not separable", adjusted, None, "one item, or one cluster of items, has no spread")
    if adjusted <= LEVEL and (low > 0 or high < 0):
        return Verdict("better" if (value > 0) == more_is_better else "worse", adjusted)
    if value == 0 and error == 0:
        return Verdict("not separable", adjusted, None, "the same answers")
    if value == 0:
        return Verdict("not separable", adjusted, None, "no difference to find")
    # Items and seeds each with its own quantile, as where one recipe alone tells of seeds (paired.py).
    of_items = _POWER - float(ndtri(LEVEL / times / 2))
    of_seeds = _POWER - float(stdtrit(min(freedom, _LARGE), LEVEL / times / 2))
    room = (value**2 - of_seeds**2 * seeds) / of_items**2
    if room <= 0:
        return Verdict("not separable", adjusted, None, "seeds differ as much: more seeds, not more items")
    needed = math.ceil(items * max(error**2 - seeds, 0.0) / room)
    if needed <= items:
        return Verdict("not separable", adjusted, needed, _in_doubt(low > 0 or high < 0, groups))
    return Verdict("not separable", adjusted, needed, f"it would take about {count(_round(needed), 'item')}")


def _in_doubt(clear: bool, groups: int | None) -> str:
    """Why a difference that is large for its error is none: `clear` of 0 is its interval, but p is not small."""
    if groups is None or groups >= FEW:
        return "too many tests at once, or too few clusters of items"
    told = f"{count(groups, 'independent group')} of items are too few"
    return f"{told}: the interval is clear of 0, but p is above {LEVEL}, and both must say so" if clear else told


def few(groups: int, seeds: bool = False) -> str:
    """A sentence on what intervals and verdicts are worth that rest on so few independent groups of items; empty where
    there are enough. `seeds`: several of a recipe are compared, whose p is Student's t.
    """
    if groups >= FEW:
        return ""
    if groups < 2:
        return "All items are one group (those of one text or class), which has no spread: no interval, and no verdict."
    told = (
        f"There are only {count(groups, 'independent group')} of items (those of one text or class are one), and an "
        f"interval by fewer than {FEW} is not to be trusted: it is Student's t around the value, or exact where all "
        f"answers are right or none is. A verdict needs p as well, at most {LEVEL}"
    )
    least = 2.0 ** (1 - groups)
    if seeds or least <= LEVEL:
        return f"{told}."
    return f"{told}, which {count(groups, 'group')} cannot bring below {least:.2g}: no difference is separable here."


def _round(number: int) -> int:
    """Two digits of it: more would be a pretence."""
    power = 10 ** max(len(str(number)) - 2, 0)
    return math.ceil(number / power) * power
