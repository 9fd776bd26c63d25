"""Exact search on a GPU: blocks of rows are moved there, one matrix product and one top-k each, the results merged.

By PyTorch alone: FAISS need not be here.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from distillkit.mining.found import Found, Tick
from distillkit.mining.vectors import Vectors
from distillkit.system.device import give_back

_SCORES = 1 << 28  # scores that are on the device at once: 1 GiB in float32
_WIDEST = 1 << 22  # rows that are scored at once: of few queries against very many rows, top-k sorts all of them
_KEPT = 4 << 30  # bytes of the device that scores, top-k and other libraries have
_LEAST = 1 << 16  # rows of a block, however little the device has left


def device_rows(width: int, device: torch.device) -> int:
    """How many rows fit into the memory that the device has left, or has again after an earlier search.

    To the driver, memory that PyTorch keeps for the next tensor is as good as taken.
    """
    give_back()
    free = torch.cuda.mem_get_info(device)[0] - _KEPT
    return max(free // (4 * width), _LEAST)


class ExactOnGPU:
    """`block` rows are on the device at a time; where that is the whole corpus, it stays there.

    They get there `piece` rows at a time, which is all of them that this machine's own memory holds.
    """

    name = "exact on the GPU"

    def __init__(self, vectors: Vectors, block: int, piece: int, device: torch.device):
        self.vectors, self.block, self.device = vectors, min(block, len(vectors)), device
        self.piece = min(piece, self.block)
        self._room = torch.empty(self.piece, vectors.width, pin_memory=device.type == "cuda")
        self._rows = torch.empty(self.block, vectors.width, device=device)
        self._all = self._on_device(0) if self.block == len(vectors) else None

    def _on_device(self, first: int) -> torch.Tensor:
        count = min(self.block, len(self.vectors) - first)
        for start in range(0, count, self.piece):
            stop = min(start + self.piece, count)
            room = self._room[: stop - start]
            self.vectors.unit(slice(first + start, first + stop), room.numpy())
            self._rows[start:stop].copy_(room)
        return self._rows[:count]

    @torch.inference_mode()
    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = lambda share: None) -> Found:
        """The k nearest rows of each unit vector."""
        asked = torch.from_numpy(queries).to(self.device)
        scores = asked.new_empty(len(asked), 0)
        places = torch.empty(len(asked), 0, dtype=torch.int64, device=self.device)
        step = max(min(_SCORES // max(len(asked), 1), _WIDEST), k)
        for first in range(0, len(self.vectors), self.block):
            rows = self._on_device(first) if self._all is None else self._all
            for part in range(0, len(rows), step):
                some = rows[part : part + step]
                best, where = (asked @ some.T).topk(min(k, len(some)), dim=1)
                scores, order = torch.cat([scores, best], 1).sort(dim=1, descending=True, stable=True)
                places = torch.cat([places, where + first + part], 1).gather(1, order)
                scores, places = scores[:, :k], places[:, :k]
            tick(min((first + self.block) / len(self.vectors), 1.0))
        return Found(scores.cpu().numpy(), places.cpu().numpy())
