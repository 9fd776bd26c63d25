"""The learned masks of transformers: one log-alpha per channel, per head and per neuron. See _l0.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.students._l0 import EPS, LOG_ALPHA_RANGE, START, Size, draw, kept, settled, sparsity


@dataclass(frozen=True, slots=True)
class Drawn:
    """Masks in [0, 1]: of the channels, and of each layer's heads and neurons."""

    hidden: Float[Tensor, "d"]
    heads: list[Float[Tensor, "h"]]
    neurons: list[Float[Tensor, "n"]]


class Masks(nn.Module):
    """All open, of a whole network: sparsity is measured against it. `heads` and `neurons` are those of each layer."""

    # TinyCLIP trains masks so, whatever the rate of the weights, and does not decay them.
    learning_rate = 0.02

    def __init__(self, width: int, heads: list[int], neurons: list[int]):
        super().__init__()
        self.size = Size(width, neurons[0], heads[0], len(heads))
        self.hidden = nn.Parameter(torch.full((width,), START))
        self.heads = nn.ParameterList(torch.full((count,), START) for count in heads)
        self.neurons = nn.ParameterList(torch.full((count,), START) for count in neurons)

    def restart(self, width: int, heads: list[int], neurons: list[int]) -> None:
        """All masks open again, for a network of other sizes."""
        for log_alpha, count in zip(self.parameters(), (width, *heads, *neurons), strict=True):
            log_alpha.data = log_alpha.new_full((count,), START)

    def clamp(self) -> None:
        """Take back what an optimiser step carried beyond the bounds."""
        with torch.no_grad():
            for log_alpha in self.parameters():
                log_alpha.clamp_(*LOG_ALPHA_RANGE)

    def forward(self) -> Drawn:
        """Random in training, settled in evaluation."""
        of = self._draw if self.training else self._settle
        return Drawn(of(self.hidden), [of(layer) for layer in self.heads], [of(layer) for layer in self.neurons])

    def _draw(self, log_alpha: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return draw(log_alpha, torch.empty_like(log_alpha).uniform_(EPS, 1 - EPS))

    def _settle(self, log_alpha: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return settled(log_alpha.clamp(*LOG_ALPHA_RANGE))

    def remaining(self) -> Float[Tensor, ""]:
        """The number of parameters that are expected to stay."""
        groups = self.hidden, torch.cat([*self.heads]), torch.cat([*self.neurons])
        return self.size.remaining(*(kept(group) for group in groups))


def share_gone(towers: Sequence[Masks]) -> Float[Tensor, ""] | None:
    """The share of parameters that is expected to go, over all towers together; None where none has masks."""
    return sparsity([masks.remaining() for masks in towers], [masks.size for masks in towers]) if towers else None
