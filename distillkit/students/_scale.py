"""CLIP's learned logit scale: exp of a parameter that is kept at ln 100 at most. https://arxiv.org/abs/2103.00020"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

START = math.log(1 / 0.07)
_MAX = math.log(100.0)


def multiplier(log_scale: nn.Parameter) -> Float[Tensor, ""]:
    """What multiplies cosines. What an optimiser step carried beyond the bounds is taken back first."""
    with torch.no_grad():
        log_scale.clamp_(0, _MAX)
    return log_scale.exp()
