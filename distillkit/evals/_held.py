"""Which of the images to learn from are held out, to choose a knob by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def held_out(sizes: Sequence[int], share: float, seed: int = 0) -> tuple[Int[Tensor, "l"], Int[Tensor, "c"]]:
    """Places to learn from, and to choose by, of stores of these sizes put together: of two the second chooses, of one
    a `share` that is drawn.
    """
    if len(sizes) == 2:
        return torch.arange(sizes[0]), torch.arange(sizes[0], sum(sizes))
    order = torch.randperm(sizes[0], generator=torch.Generator().manual_seed(seed))
    held = max(int(sizes[0] * share), 1)
    return order[held:], order[:held]
