"""L0 masks: which channels, heads and neurons of a transformer stay, learned by gradient (hard-concrete distribution).

    train  s = sigmoid((log u - log(1-u) + A) / beta),  z = clip(1.2 s - 0.1, 0, 1),  u ~ U(0, 1)
    kept   P(z > 0) = sigmoid(A - beta log(0.1 / 1.1))
    eval   z = sigmoid(0.8 A / beta), the round(n - sum P) smallest of a group set to 0
    sparsity = 1 - kept parameters / all parameters

Louizos et al. 2018, https://arxiv.org/abs/1712.01312; as TinyCLIP uses it, https://arxiv.org/abs/2309.12314.
A is a log-alpha, one per channel: hidden [d], heads [layers, heads], intermediate [layers, neurons].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BETA = 2 / 3
LOW, HIGH = -0.1, 1.1
EPS = 1e-6
EVAL_SHARPNESS = 0.8
START = 10.0
LOG_ALPHA_RANGE = (math.log(0.01), math.log(100.0))  # clamped after every optimiser step


def draw(log_alpha: Float[Tensor, "*n"], uniform: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """A random mask in [0, 1]; `uniform` is drawn from (EPS, 1 - EPS)."""
    smooth = torch.sigmoid((uniform.log() - (1 - uniform).log() + log_alpha) / BETA)
    return (smooth * (HIGH - LOW) + LOW).clamp(0, 1)


def kept(log_alpha: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The probability of each that its mask is not 0."""
    return torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH)).clamp(EPS, 1 - EPS)


def settled(log_alpha: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """The mask of evaluation and fusing: per row, as many zeros as are expected, the smallest first."""
    mask = torch.sigmoid(EVAL_SHARPNESS * log_alpha / BETA)
    zeros = (log_alpha.shape[-1] - kept(log_alpha).sum(-1, keepdim=True)).round()
    rank = mask.argsort(-1).argsort(-1)
    return mask.masked_fill(rank < zeros, 0.0)


@dataclass(frozen=True, slots=True)
class Size:
    """What of a transformer can be pruned: attention and MLP, weights and biases."""

    width: int
    neurons: int
    heads: int
    layers: int

    @property
    def per_head(self) -> int:
        return (4 * self.width**2 + 4 * self.width) // self.heads

    @property
    def parameters(self) -> int:
        mlp = 2 * self.width * self.neurons + self.width + self.neurons
        return self.layers * (mlp + self.heads * self.per_head)

    def remaining(
        self, hidden: Float[Tensor, "d"], heads: Float[Tensor, "*h"], intermediate: Float[Tensor, "*n"]
    ) -> Float[Tensor, ""]:
        """Parameters left when these shares of channels, heads and neurons are: `kept(log_alpha)`, or 0 and 1."""
        channels = hidden.sum()
        return channels * heads.sum() * self.per_head / self.width + 2 * channels * intermediate.sum()


def sparsity(remaining: list[Float[Tensor, ""]], sizes: list[Size]) -> Float[Tensor, ""]:
    """The share of parameters that is gone, over all encoders together."""
    return 1 - torch.stack(remaining).sum() / sum(size.parameters for size in sizes)
