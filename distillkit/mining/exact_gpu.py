"""Exact search on a GPU: blocks of rows are moved there, one matrix product and one top-k each, the results merged."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from distillkit.mining.exact import Found, Tick
from distillkit.mining.vectors import Vectors

_SCORES = 1 << 28  # scores that are on the device at once: 1 GiB in float32


class ExactOnGPU:
    """Where the corpus fits the memory left on the device (`block` is all of it), it stays there."""

    name = "exact on the GPU"

    def __init__(self, vectors: Vectors, block: int, device: torch.device):
        self.vectors, self.block, self.device = vectors, min(block, len(vectors)), device
        self._all = self._on_device(0) if self.block == len(vectors) else None

    def _on_device(self, first: int) -> torch.Tensor:
        return torch.from_numpy(self.vectors.unit(slice(first, first + self.block))).to(self.device)

    @torch.inference_mode()
    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = lambda share: None) -> Found:
        """The k nearest rows of each unit vector."""
        asked = torch.from_numpy(queries).to(self.device)
        scores = asked.new_empty(len(asked), 0)
        places = torch.empty(len(asked), 0, dtype=torch.int64, device=self.device)
        for first in range(0, len(self.vectors), self.block):
            rows = self._on_device(first) if self._all is None else self._all
            for part in range(0, len(rows), step := max(_SCORES // len(asked), k)):
                some = rows[part : part + step]
                best, where = (asked @ some.T).topk(min(k, len(some)), dim=1)
                scores, order = torch.cat([scores, best], 1).sort(dim=1, descending=True, stable=True)
                places = torch.cat([places, where + first + part], 1).gather(1, order)
                scores, places = scores[:, :k], places[:, :k]
            tick(min((first + self.block) / len(self.vectors), 1.0))
        return Found(scores.cpu().numpy(), places.cpu().numpy())
