"""How much a teacher's targets say: softmax(g cosines) is one-hot where the scale g is too large, uniform where small.

    share = H( softmax(g c) ) / log m,   the entropy of a row of m choices: 0 is one-hot, 1 uniform; the mean over rows

One-hot targets teach no more than labels would, uniform ones nothing. In between there is no best value that is known
beforehand; half of the entropy is where neither is near.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_HALF = 0.5
ONE_HOT, UNIFORM = 0.02, 0.98  # shares below and above which targets are nearly that
_LARGEST, _SMALLEST = 1e4, 1e-2
_HALVINGS = 40


def share(scores: Float[Tensor, "n m"], dim: int = 1) -> float:
    """The mean share of the entropy that the targets of these scores have; 1 where there is one choice only."""
    if scores.shape[dim] < 2:
        return 1.0
    log_p = scores.float().log_softmax(dim)
    entropy = -(log_p.exp() * log_p).sum(dim)
    return float(entropy.mean()) / math.log(scores.shape[dim])


def scale_for(cosines: Float[Tensor, "n m"]) -> float:
    """The logit scale at which the targets have half the entropy: the more it is, the fewer choices they leave.

    Where no scale in reach gives it, the end that is nearest: rows of equal cosines stay uniform at any.
    """
    low, high = math.log(_SMALLEST), math.log(_LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if share(math.exp(middle) * cosines) > _HALF:
            low = middle
        else:
            high = middle
    return math.exp(high)


def remark(scores: Float[Tensor, "n m"]) -> str | None:
    """What to tell of targets that are nearly one-hot or nearly uniform; None of others."""
    found = share(scores)
    if ONE_HOT <= found <= UNIFORM:
        return None
    what = "one-hot: they teach little more than labels" if found < ONE_HOT else "uniform: they teach nearly nothing"
    entropy = f"{100 * found:.1f}% of the maximum entropy over {scores.shape[1]:,} choices"
    return f"the teacher's targets are nearly {what} ({entropy})"


@torch.no_grad()
def cosines(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Of every row of one with every row of the other."""
    return torch.nn.functional.normalize(x.float(), dim=-1) @ torch.nn.functional.normalize(y.float(), dim=-1).T
