"""How much of what exact search finds an approximate one finds, measured on held-out queries, and raised if too low.

recall@k = mean over queries of |found and truly among the k nearest| / k
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from distillkit.errors import StoreError
from distillkit.mining.approximate import Approximate
from distillkit.mining.exact import Found

_TIE = 1e-5  # scores this near are equal: two ways of adding 768 products differ by as much


def recall(found: Found, true: Found) -> float:
    """Share of the true neighbours that were found; one as near as the last of them counts like it."""
    return float((found.scores >= true.scores[:, -1:] - _TIE).mean())


def reach(
    wanted: float, search: Approximate, queries: Float[np.ndarray, "n d"], true: Found, say: Callable[[str], None]
) -> float:
    """Raise the effort of `search` until the recall is as wanted; returns it. StoreError when it cannot be.

    Of the ways to try harder, the one that finds most for its time is taken.
    """
    k = true.scores.shape[1]
    search.effort = search.fitted(search.effort, queries)
    reached, seconds = _tried(search, queries, true)
    say(f"recall@{k} of {search.name} ({search.effort}): {reached:.4f}, {len(queries) / seconds:.0f} queries/s")
    while reached < wanted:
        before, tries = search.effort, []
        for effort in search.harder(k):
            search.effort = search.fitted(effort, queries)
            more, longer = _tried(search, queries, true)
            tries.append(((more - reached) / longer, more, longer, search.effort))
        if not tries:
            search.effort = before
            raise StoreError(
                f"recall = {wanted} cannot be had from index {search.name!r}, which reaches {reached:.4f}; "
                'lower it, or set index = "exact"'
            )
        _, reached, seconds, search.effort = max(tries, key=lambda one: one[:2])
        say(
            f"recall@{k} is to be {wanted}: effort raised to {search.effort}: {reached:.4f}, "
            f"{len(queries) / seconds:.0f} queries/s"
        )
    return reached


def _tried(search: Approximate, queries: np.ndarray, true: Found) -> tuple[float, float]:
    started = time.perf_counter()
    found = search.search(queries, true.scores.shape[1])
    return recall(found, true), time.perf_counter() - started
