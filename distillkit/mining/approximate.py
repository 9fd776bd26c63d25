"""Approximate search: a small index names candidates, and the store's own vectors decide among them.

    candidates = index(query)      4-bit codes scanned with SIMD lookups, https://arxiv.org/abs/1704.07355 and
                                   https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes-(FastScan)
    nearest    = top k of query . row over the candidates, rows read from the store

So the index needs to hold no vectors (96 bytes a row at width 768), and the scores are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from distillkit.mining.found import Found, Tick, nothing
from distillkit.mining.lists import MEMORY as LISTS_MEMORY
from distillkit.mining.lists import Lists
from distillkit.mining.vectors import IN_STEP, Vectors

_TOGETHER = 1024  # queries that the index is asked at once
_A_TASK = 32  # queries that a thread ranks before it looks for more


@dataclass(frozen=True)
class Effort:
    """`probes`: lists that are visited for a query on average (ivf) or nodes kept (hnsw); `candidates`: times k, how
    many are ranked; `margin`: how much less near than the lists of the first k rows a list may be (any: None).
    """

    probes: int
    candidates: int
    margin: float | None = None

    def __str__(self) -> str:
        within = f" (margin {self.margin:.3f})" if self.margin is not None else ""
        return f"{f'probes {self.probes}{within}, ' if self.probes else ''}candidates {self.candidates} x k"


class Approximate:
    """`index` knows the places of `vectors`; what it names is ranked by `threads` threads."""

    def __init__(self, kind: str, index: Any, vectors: Vectors, effort: Effort, threads: int):
        self.name, self.index, self.vectors, self.effort, self.threads = kind, index, vectors, effort, threads
        self.lists = Lists(index) if kind.startswith("ivf") else None
        self._shrink = 1 / vectors.lengths()

    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = lambda share: None) -> Found:
        """The k nearest rows of each unit vector, among those that the index names for it."""
        many = min(self.effort.candidates * k, len(self.vectors))
        parts: list[Found] = []
        together = min(_TOGETHER, self.lists.at_once) if self.lists else _TOGETHER
        # Each of the pool's threads multiplies alone: the number of threads is the calling thread's own.
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for first in range(0, len(queries), together):
                asked = queries[first : first + together]
                named = self._named(asked, k, many)
                tasks = [slice(task, task + _A_TASK) for task in range(0, len(asked), _A_TASK)]
                parts += pool.map(partial(self._rank, k=k), (asked[t] for t in tasks), (named[t] for t in tasks))
                tick((first + len(asked)) / len(queries))
        return Found(*map(np.concatenate, zip(*parts, strict=True))) if parts else nothing(0, k)

    def _named(self, queries: Float[np.ndarray, "n d"], k: int, many: int) -> Int[np.ndarray, "n many"]:
        """The candidates of each query; -1 where there are fewer."""
        if self.lists:
            return self.lists.search(queries, k, many, self.effort.margin)
        if self.name == "hnsw":
            self.index.hnsw.efSearch = self.effort.probes
        return self.index.search(queries, many)[1]

    def _rank(self, queries: Float[np.ndarray, "n d"], named: Int[np.ndarray, "n many"], k: int) -> Found:
        """The k best of the places that are named for each query."""
        best = nothing(len(queries), k)
        for one, query in enumerate(torch.from_numpy(queries)):
            places = np.sort(named[one][named[one] >= 0])  # as they lie in memory
            cosines = self.vectors.dots(query, places).mul_(self._shrink[torch.from_numpy(places)])
            scores, order = cosines.topk(min(k, len(places)))
            best.scores[one, : len(order)], best.places[one, : len(order)] = scores.numpy(), places[order.numpy()]
        return best

    def fitted(self, effort: Effort, queries: Float[np.ndarray, "n d"], k: int) -> Effort:
        """The same effort, with the margin by which queries like these visit as many lists as it says."""
        if self.lists:
            return replace(effort, margin=self.lists.margin(queries, k, effort.probes))
        return effort if self.most_probes else replace(effort, probes=0)

    @property
    def most_probes(self) -> int:
        """Where more probing can find nothing more; 0 where an index does not probe."""
        if self.lists:
            return len(self.lists)
        return len(self.vectors) if self.name == "hnsw" else 0

    def harder(self, effort: Effort, k: int) -> Iterator[Effort]:
        """The next steps of effort: half as many probes more, or candidates."""
        if effort.probes < self.most_probes:
            yield replace(effort, probes=min(_more(effort.probes), self.most_probes))
        if effort.candidates * k < len(self.vectors):
            yield replace(effort, candidates=_more(effort.candidates))


def between(one: Effort, other: Effort) -> Effort:
    """Half way, on the side of `other`."""
    return Effort(-(-(one.probes + other.probes) // 2), -(-(one.candidates + other.candidates) // 2))


def search_bytes(kind: str, rows: int, width: int, many: int, threads: int) -> int:
    """What a search of `rows` rows takes besides its index, `many` candidates a query: lengths, candidates, scratch."""
    named = 12 * _TOGETHER * min(many, rows)
    return 4 * rows + named + threads * 6 * IN_STEP * width + LISTS_MEMORY * kind.startswith("ivf")


def _more(count: int) -> int:
    return -(-3 * count // 2)
