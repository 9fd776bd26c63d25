"""Mixup and CutMix: each image of a batch and its neighbour are mixed, alike for the whole batch.

    mixup    x_i' = l x_i + (1 - l) x_j,   l from Beta(a, a)      Zhang et al. 2017, https://arxiv.org/abs/1710.09412
    cutmix   a box of x_i is that of x_j, 1 - l of its area       Yun et al. 2019, https://arxiv.org/abs/1905.04899

Neighbours are rows 0 and 1, 2 and 3, and so on, of batches whose order is random: they are never apart, into however
many processes a batch is divided. What is drawn depends on the seed and the step alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from distillkit.recipe import Augment

_STREAM = 4  # of the seed, beside those of training/order.py
_PARTS = 1 << 16  # shares are whole parts of so many, so that mixed bytes are the same on every device


@dataclass(frozen=True)
class Mix:
    """`share`: how much of an image is its own. `box`: left, top, right, bottom of what is not, for CutMix."""

    share: float
    box: tuple[int, int, int, int] | None = None

    def __call__(self, pixels: UInt8[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
        """The batch with every image mixed."""
        others = neighbours(pixels)
        if self.box is not None:
            left, top, right, bottom = self.box
            mixed = pixels.clone()
            mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
            return mixed
        own = round(self.share * _PARTS)
        total = pixels.int() * own + others.int() * (_PARTS - own) + _PARTS // 2
        return (total >> 16).to(torch.uint8)


def neighbours(rows: Tensor) -> Tensor:
    """Rows 0 and 1 in each other's place, rows 2 and 3, and so on."""
    return rows[torch.arange(len(rows), device=rows.device) ^ 1]


def drawn(augment: Augment, seed: int, step: int, size: int) -> Mix | None:
    """How the batch of a step is mixed; None where it is not. Where a recipe has both kinds, each is half of them."""
    random = np.random.Generator(np.random.PCG64([seed, _STREAM, step]))
    if not augment.mixes or random.random() >= augment.mixed_batches:
        return None
    cut = bool(augment.cutmix) and (not augment.mixup or random.random() < 0.5)
    share = float(random.beta(*2 * (augment.cutmix if cut else augment.mixup,)))
    if not cut:
        return Mix(round(share * _PARTS) / _PARTS)
    half = int(size * math.sqrt(1 - share)) // 2
    x, y = (int(centre) for centre in random.integers(size, size=2))
    box = (max(x - half, 0), max(y - half, 0), min(x + half, size), min(y + half, size))
    return Mix(1 - (box[2] - box[0]) * (box[3] - box[1]) / size**2, box)
