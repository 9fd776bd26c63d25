"""What a search has found, and how far it is: for every search, by FAISS or not, so FAISS is not imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_TOGETHER = 1024  # queries whose findings are merged at once

Tick = Callable[[float], None]  # told the share of a search that is done


class Found(NamedTuple):
    """The nearest places of each query, best first: cosines, and -1 where fewer than k were found."""

    scores: Float[np.ndarray, "n k"]
    places: Int[np.ndarray, "n k"]


def scaled(tick: Tick, low: float, high: float) -> Tick:
    """Shares of a part that goes from `low` to `high`, as shares of the whole."""
    return lambda share: tick(low + share * (high - low))


def nothing(queries: int, k: int) -> Found:
    """Before anything is found."""
    return Found(np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64))


def merge(best: Found, other: Found) -> None:
    """Put what is better in `other`, a search of the same queries, into `best`; as wide as before."""
    k = best.scores.shape[1]
    for first in range(0, len(best.scores), _TOGETHER):
        rows = slice(first, first + _TOGETHER)
        scores = np.concatenate([best.scores[rows], other.scores[rows]], axis=1)
        places = np.concatenate([best.places[rows], other.places[rows]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best.scores[rows] = np.take_along_axis(scores, order, axis=1)
        best.places[rows] = np.take_along_axis(places, order, axis=1)
