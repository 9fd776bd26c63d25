"""Which inverted lists a query visits: those nearly as near as the ones that hold its first k rows.

    visited = lists l with q . c_l >= q . c_m - margin,    m: the list at which the nearest ones have k rows together

A query in a dense region has its neighbours in many lists that are about as near, one elsewhere in a few. On a million
clustered vectors (tests/bench/clustered.py) a margin visits 0.6 of the rows that as many lists for all queries do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.mining.which_faiss import faiss

_SCORES = 4 << 20  # scores of queries against centroids that are in memory
_FEW = 16  # lists that are looked at to begin with
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

    def margin(self, queries: Float[np.ndarray, "n d"], k: int, visited: int) -> float:
        """By which these queries visit so many lists on average; at least 0."""
        some = queries[:: -(-len(queries) // _FITTED)]
        parts = [self._scores(self._turned(part)) for part in np.array_split(some, -(-len(some) // self.at_once))]
        behind = torch.cat([(self._reached(scores, k) - scores).flatten() for scores in parts])
        return max(float(behind.kthvalue(min(visited * len(some), len(behind))).values), 0.0)

    def search(
        self, queries: Float[np.ndarray, "n d"], k: int, many: int, margin: float | None
    ) -> Int[np.ndarray, "n many"]:
        """Places of the rows that the index holds to be nearest, -1 where it has no more. Margin None: of all lists."""
        turned = self._turned(queries)
        scores = self._scores(turned)
        reached = self._reached(scores, k)
        visited = scores >= (reached - margin if margin is not None else -torch.inf)
        counts = visited.sum(dim=1)
        query, one = visited.nonzero(as_tuple=True)
        column = torch.arange(len(one)) - (counts.cumsum(0) - counts)[query]
        # What is left over is no list, -1, with a score that some list has: FAISS scales by the range of all of them.
        probes = int(counts.max())
        numbers, cosines = torch.full((len(queries), probes), -1), reached.expand(-1, probes).clone()
        numbers[query, column], cosines[query, column] = one, scores[query, one]
        self._ivf.nprobe = probes
        return self._ivf.search_preassigned(turned, many, numbers.numpy(), cosines.numpy())[1]

    def _reached(self, scores: Float[Tensor, "n lists"], k: int) -> Float[Tensor, "n 1"]:
        """The score of the list at which the nearest ones have k rows together."""
        count = _FEW
        while True:
            best = scores.topk(min(count, len(self)), dim=1)
            rows = self._sizes[best.indices].cumsum(dim=1)
            if count >= len(self) or int(rows[:, -1].min()) >= k:
                last = (rows < k).sum(dim=1, keepdim=True).clamp(max=rows.shape[1] - 1)
                return best.values.gather(1, last)
            count *= 4

    def _turned(self, queries: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        return self._turn.apply(queries) if self._turn else queries

    def _scores(self, turned: Float[np.ndarray, "n d"]) -> Float[Tensor, "n lists"]:
        return torch.from_numpy(turned) @ self._centroids.T
