"""Approximate search: a small index names candidates, and the store's own vectors decide among them.

    candidates = index(query)      4-bit codes scanned with SIMD lookups, https://arxiv.org/abs/1704.07355 and
                                   https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes-(FastScan)
    nearest    = top k of query . row over the candidates, rows read from the store

So the index needs to hold no vectors (48 bytes a row at width 768), and the scores are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.mining.exact import Found, Tick, nothing
from distillkit.mining.vectors import Vectors

_TOGETHER = 1024  # queries that the index is asked at once
GROUP = 32  # queries that share their candidates


@dataclass(frozen=True)
class Effort:
    """`probes`: lists that are visited (ivf) or nodes kept (hnsw); `candidates`: times k, how many are ranked."""

    probes: int
    candidates: int

    def __str__(self) -> str:
        return f"{f'probes {self.probes}, ' if self.probes else ''}candidates {self.candidates} x k"


class Approximate:
    """`index` knows the places of `vectors`; what it names is ranked by `threads` threads.

    Queries are taken in groups of like ones. A group shares its candidates: each row is read once for all of them, the
    scores are one matrix product, and a query finds neighbours that only its likes were told of.
    """

    def __init__(self, kind: str, index: Any, vectors: Vectors, effort: Effort, threads: int):
        self.name, self.index, self.vectors, self.effort, self.threads = kind, index, vectors, effort, threads
        self._shrink = 1 / vectors.lengths()

    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = lambda share: None) -> Found:
        """The k nearest rows of each unit vector, among those that the index names for it or for its likes."""
        self._set(self.effort.probes)
        many = min(self.effort.candidates * k, len(self.vectors))
        found = nothing(len(queries), k)
        order = alike(queries)
        # Each of the pool's threads multiplies alone: the number of threads is the calling thread's own.
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for first in range(0, len(order), _TOGETHER):
                asked = order[first : first + _TOGETHER]
                named = self.index.search(queries[asked], many)[1]
                groups = [slice(group, group + GROUP) for group in range(0, len(asked), GROUP)]
                parts = [(queries[asked[group]], named[group]) for group in groups]
                ranked = pool.map(partial(self._rank, k=k), *zip(*parts, strict=True))
                for group, best in zip(groups, ranked, strict=True):
                    found.scores[asked[group]], found.places[asked[group]] = best
                tick((first + len(asked)) / len(order))
        return found

    def _rank(self, queries: np.ndarray, named: np.ndarray, k: int) -> Found:
        """The k best for each query of a group, of all places named for one of them."""
        places = np.unique(named)
        places = places[places >= 0]
        scores, order = self._cosines(torch.from_numpy(queries), places).topk(min(k, len(places)), dim=1)
        best = nothing(len(queries), k)
        best.scores[:, : scores.shape[1]], best.places[:, : scores.shape[1]] = scores.numpy(), places[order.numpy()]
        return best

    def _cosines(self, queries: Tensor, places: np.ndarray) -> Tensor:
        return self.vectors.dots(queries, places).mul_(self._shrink[torch.from_numpy(places)])

    def _set(self, probes: int) -> None:
        if self.name.startswith("ivf"):
            faiss.extract_index_ivf(self.index).nprobe = probes
        if self.name == "hnsw":
            self.index.hnsw.efSearch = probes

    @property
    def most_probes(self) -> int:
        """Where more probing can find nothing more; 0 where an index does not probe."""
        if self.name.startswith("ivf"):
            return faiss.extract_index_ivf(self.index).nlist
        return len(self.vectors) if self.name == "hnsw" else 0

    def harder(self, k: int) -> Iterator[Effort]:
        """The next steps of effort: twice the probes, or twice the candidates."""
        if self.effort.probes < self.most_probes:
            yield replace(self.effort, probes=min(2 * self.effort.probes, self.most_probes))
        if self.effort.candidates * k < len(self.vectors):
            yield replace(self.effort, candidates=2 * self.effort.candidates)


def alike(queries: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n"]:
    """An order in which like queries stand together: by the nearest of some of them."""
    pivots = queries[:: 2 * GROUP]
    # Without what all queries have in common, which would make one pivot the nearest of most.
    return np.argsort((queries @ (pivots - queries.mean(axis=0)).T).argmax(axis=1), kind="stable")
