"""Approximate search whose candidates an index on a GPU names (gpu_index.py); the store's own vectors rank them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from distillkit.mining.approximate import Approximate, Effort
from distillkit.mining.gpu_index import MOST


class ApproximateOnGPU(Approximate):
    """Every query visits as many lists as any other, and is given at most `MOST` candidates."""

    def _named(self, queries: Float[np.ndarray, "n d"], k: int, many: int) -> Int[np.ndarray, "n many"]:
        self.index.nprobe = self.effort.probes
        return self.index.search(queries, min(many, MOST))[1]

    @property
    def most_probes(self) -> int:
        return min(int(self.index.nlist), MOST)

    def harder(self, effort: Effort, k: int) -> Iterator[Effort]:
        for one in super().harder(effort, k):
            if one.candidates == effort.candidates or effort.candidates * k < MOST:
                yield replace(one, candidates=min(one.candidates, -(-MOST // k)))
