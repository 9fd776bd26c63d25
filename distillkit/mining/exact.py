"""Exact search: every query against every row, a block of rows at a time, by FAISS' matrix products.

FAISS computes the scores of few queries one by one instead, up to eight times slower (below some 167 queries at width
768: https://github.com/facebookresearch/faiss/wiki/Implementation-notes). Here a call of any size is a matrix product.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from distillkit.mining.found import Found, Tick, merge, nothing
from distillkit.mining.vectors import Vectors
from distillkit.mining.which_faiss import faiss

_A_CALL = 4096  # queries that FAISS looks at together, too


class Exact:
    """`block` rows are in memory at a time, always at one place; where that is all of them, they stay there."""

    name = "exact"

    def __init__(self, vectors: Vectors, block: int):
        self.vectors, self.block = vectors, min(block, len(vectors))
        self._room = np.empty((self.block, vectors.width), np.float32)
        self._all = vectors.unit(slice(None), self._room) if self.block == len(vectors) else None

    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = lambda share: None) -> Found:
        """The k nearest rows of each unit vector."""
        if self._all is not None:
            return _in_calls(queries, self._all, k, tick)
        best = nothing(len(queries), k)
        for first in range(0, len(self.vectors), self.block):
            part = slice(first, min(first + self.block, len(self.vectors)))
            rows = self.vectors.unit(part, self._room[: part.stop - part.start])
            found = nearest(queries, rows, min(k, len(rows)))
            merge(best, Found(found.scores, found.places + first))
            tick(part.stop / len(self.vectors))
        return best


def nearest(queries: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "m d"], k: int) -> Found:
    """The k rows of greatest inner product, k at most m."""
    faiss.cvar.distance_compute_blas_threshold = 1
    scores, places = faiss.knn(queries, rows, k, metric=faiss.METRIC_INNER_PRODUCT)
    return Found(scores, places)


def _in_calls(queries: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "m d"], k: int, tick: Tick) -> Found:
    """The same, told of on the way."""
    parts = []
    for first in range(0, len(queries), _A_CALL):
        parts.append(nearest(queries[first : first + _A_CALL], rows, k))
        tick(min((first + _A_CALL) / len(queries), 1.0))
    return parts[0] if len(parts) == 1 else Found(*map(np.concatenate, zip(*parts, strict=True)))
