"""Which inverted lists a query visits: all whose centroid is nearly as near as the nearest one.

    visited = lists l with q . c_l >= max q . c - margin

A query in a dense region has its neighbours in many lists that are about as near, one elsewhere in a few: a margin
visits half the rows that the same number of lists for every query does, at the same recall.
"""

from __future__ import annotations

from math import inf
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SCORES = 4 << 20  # scores of queries against centroids that are in memory
_FITTED = 1024  # queries that a margin is read from
MEMORY = 16 * _SCORES  # bytes that a search takes, with the numbers of the lists that it visits


class Lists:
    """The inverted lists of a FAISS index over inner products, itself or behind a rotation."""

    def __init__(self, index: Any):
        self._ivf: Any = faiss.extract_index_ivf(index)
        self._turn: Any = faiss.downcast_VectorTransform(index.chain.at(0)) if hasattr(index, "chain") else None
        held: Any = faiss.downcast_index(self._ivf.quantizer)
        shape = (self._ivf.nlist, self._ivf.d)
        self._centroids = torch.from_numpy(faiss.rev_swig_ptr(held.get_xb(), shape[0] * shape[1]).reshape(shape))
        self._sizes = torch.tensor([self._ivf.get_list_size(one) for one in range(len(self))])
        self._index = index  # the centroids are its memory

    def __len__(self) -> int:
        return self._ivf.nlist

    @property
    def at_once(self) -> int:
        """Queries that may be asked at once."""
        return max(_SCORES // len(self), 1)

    def margin(self, queries: Float[np.ndarray, "n d"], visited: int) -> float:
        """By which these queries visit so many lists on average."""
        some = queries[:: -(-len(queries) // _FITTED)]
        parts = [self._scores(self._turned(part)) for part in np.array_split(some, -(-len(some) // self.at_once))]
        behind = torch.cat([(scores.amax(1, keepdim=True) - scores).flatten() for scores in parts])
        return float(behind.kthvalue(min(visited * len(some), len(behind))).values)

    def search(self, queries: Float[np.ndarray, "n d"], many: int, margin: float | None) -> Int[np.ndarray, "n many"]:
        """Places of the rows that the index holds to be nearest, -1 where it has no more."""
        turned = self._turned(queries)
        scores = self._scores(turned)
        visited = self._visited(scores, many, margin)
        counts = visited.sum(dim=1)
        query, one = visited.nonzero(as_tuple=True)
        column = torch.arange(len(one)) - (counts.cumsum(0) - counts)[query]
        # What is left over is no list, -1, with a score that some list has: FAISS scales by the range of all of them.
        probes = int(counts.max())
        numbers = torch.full((len(queries), probes), -1)
        cosines = scores.amax(dim=1, keepdim=True).expand(-1, probes).clone()
        numbers[query, column], cosines[query, column] = one, scores[query, one]
        self._ivf.nprobe = probes
        return self._ivf.search_preassigned(turned, many, numbers.numpy(), cosines.numpy())[1]

    def _visited(self, scores: Float[Tensor, "n lists"], many: int, margin: float | None) -> Bool[Tensor, "n lists"]:
        """Lists within the margin; where those have fewer than `many` rows, the nearest that have as many."""
        visited = scores >= scores.amax(dim=1, keepdim=True) - (inf if margin is None else margin)
        short = (visited.long() * self._sizes).sum(dim=1) < many
        if short.any():
            order = scores[short].argsort(dim=1, descending=True, stable=True)
            before = self._sizes[order].cumsum(dim=1) - self._sizes[order]
            visited[short] |= torch.zeros_like(visited[short]).scatter(1, order, before < many)
        return visited

    def _turned(self, queries: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        return self._turn.apply(queries) if self._turn else queries

    def _scores(self, turned: Float[np.ndarray, "n d"]) -> Float[Tensor, "n lists"]:
        return torch.from_numpy(turned) @ self._centroids.T
