"""How much of what exact search finds an approximate one finds, measured on held-out queries, and raised if too low.

recall@k = mean over queries of |found and truly among the k nearest| / k
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.mining.approximate import Approximate, Effort, between
from distillkit.mining.found import Found
from distillkit.system.wording import pace

_HALVINGS = 2  # of the last step
_TIE = 1e-5  # scores this near are equal: two ways of adding 768 products differ by as much


def recall(found: Found, true: Found) -> float:
    """Share of the true neighbours that were found; one as near as the last of them counts like it."""
    return float((found.scores >= true.scores[:, -1:] - _TIE).mean())


def reach(
    wanted: float,
    search: Approximate,
    queries: Float[np.ndarray, "n d"],
    true: Found,
    say: Say,
    others: Callable[[Found], Found] | None = None,
) -> float:
    """Raise the effort of `search` until the recall is as wanted; returns it. StoreError when it cannot be.

    Of the ways to try harder, the one that finds most for its time is taken. Half of the last step is tried, too.
    `others`: of queries that stand in the corpus themselves, leaves each one out of what it found. It is the easiest
    row to find, and counted in it would hide that others were missed.
    """
    k = true.scores.shape[1]
    sought = others(true) if others else true

    def tried(effort: Effort) -> _Try:
        search.effort = search.fitted(effort, queries, k)
        started = time.perf_counter()
        found = search.search(queries, k)
        seconds = time.perf_counter() - started
        return _Try(search.effort, recall(others(found) if others else found, sought), seconds)

    def told(one: _Try) -> str:
        return f"{one.effort}: {one.recall:.4f}, {pace(len(queries) / one.seconds, 'queries')}"

    before = now = tried(search.effort)
    at = sought.scores.shape[1]
    say(f"recall@{at} of {search.name}, {told(now)}")
    while now.recall < wanted:
        tries = [tried(effort) for effort in search.harder(now.effort, k)]
        if not tries:
            raise StoreError(
                f"recall = {wanted} cannot be reached by index {search.name!r}, which reaches {now.recall:.4f}; "
                'lower it, or set index = "exact"'
            )
        before, now = now, max(tries, key=lambda one: (one.recall - now.recall) / one.seconds)
        say(f"recall@{at} is to be {wanted}: effort raised to {told(now)}")
    for _ in range(_HALVINGS if before is not now else 0):
        half = tried(between(before.effort, now.effort))
        before, now = (before, half) if half.recall >= wanted else (half, now)
    search.effort = now.effort
    return now.recall


class _Try(NamedTuple):
    """What an effort found, and the seconds it took."""

    effort: Effort
    recall: float
    seconds: float
