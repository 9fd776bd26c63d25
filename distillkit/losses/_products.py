"""Products of matrices in losses: in float32, or, where a recipe asks for it, of numbers rounded to bfloat16.

What is rounded is summed in float32 and stays float32, so that scores, softmaxes and their logarithms are as exact as
ever; a GPU multiplies such numbers many times faster (`optim.loss_products = "bf16"`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_low = False
_KEEPS_FLOAT32 = hasattr(torch.ops.aten.mm, "dtype")  # PyTorch from 2.8 on


class Rounded:
    """A context in which products are of rounded numbers, or, `on` being false, of numbers as they are."""

    def __init__(self, on: bool):
        self.on = on

    def __enter__(self) -> None:
        global _low
        self.before, _low = _low, self.on

    def __exit__(self, *_: object) -> None:
        global _low
        _low = self.before


def product(a: Float[Tensor, "n d"], b: Float[Tensor, "d m"]) -> Float[Tensor, "n m"]:
    """a @ b."""
    return _Rounded.apply(a, b) if _low else a @ b


class Linear(nn.Linear):
    """torch's own, whose product is one of this file."""

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
        if not _low:
            return super().forward(x)
        said = product(x.flatten(0, -2), self.weight.T).view(*x.shape[:-1], -1)
        return said if self.bias is None else said + self.bias


class _Rounded(torch.autograd.Function):
    """Of C = A B, rounded:  dA = dC B^T,  dB = A^T dC,  of rounded numbers too."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        low = a.to(torch.bfloat16), b.to(torch.bfloat16)
        ctx.save_for_backward(*low)
        return _summed(*low)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (a, b), along = ctx.saved_tensors, gradients[0].to(torch.bfloat16)
        first, second = ctx.needs_input_grad
        return _summed(along, b.T) if first else None, _summed(a.T, along) if second else None


def _summed(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in float32: products of two bfloat16 numbers fit into it whole."""
    fast = a.is_cuda and _KEEPS_FLOAT32
    return torch.mm(a, b, out_dtype=torch.float32) if fast else a.float() @ b.float()
