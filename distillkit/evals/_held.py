"""Which images are learned from, and which of them are held out, to choose a knob by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from distillkit.evals._encode import Encode, blank
from distillkit.evals._labels import Labels

_FEW = 64


def learned_from(labels: Labels, encode: Encode) -> Labels:
    """All of these images; of a network that says nothing a few, spread over all of them."""
    if not blank(encode) or len(labels.places) <= _FEW:
        return labels
    kept = np.linspace(0, len(labels.places) - 1, _FEW).astype(np.int64)
    return labels.but(np.delete(labels.places, kept))


def held_out(sizes: Sequence[int], share: float, seed: int = 0) -> tuple[Int[Tensor, "l"], Int[Tensor, "c"]]:
    """Places to learn from, and to choose by, of stores of these sizes put together: of two the second chooses, of one
    a `share` that is drawn.
    """
    if len(sizes) == 2:
        return torch.arange(sizes[0]), torch.arange(sizes[0], sum(sizes))
    order = torch.randperm(sizes[0], generator=torch.Generator().manual_seed(seed))
    held = max(int(sizes[0] * share), 1)
    return order[held:], order[:held]
