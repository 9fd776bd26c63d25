"""The price of keeping too many parameters: what makes a student's L0 masks reach a target sparsity.

    L = l1 max(target - s, 0) + l2 max(target - s, 0)^2,   s = student.sparsity, maximised over l1 and l2

TinyCLIP, https://arxiv.org/abs/2309.12314, after CoFi, https://arxiv.org/abs/2204.00408. The released code maximises by
a negative learning rate; here the multipliers' gradient is turned round, to the same steps. The masks belong to the
student: students/openclip_slim.py.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from distillkit.losses._score import read
from distillkit.recipe.schema import MOST, Part
from distillkit.types import Batch, Features, Widths


class Sparsity(nn.Module):
    """`target`: the share of parameters that masks should remove, from the warm-up's end on. `start`: the share of
    parameters that masks should remove at step 0. `warmup_steps`: steps in which the share to remove rises linearly to
    its final value; 0: it has that value from the first step.

    `two_sided`: true: the loss also counts when the student is sparser than it should be, as in CoFi; false: only when
    it is denser, as in TinyCLIP. `multiplier`: where both learned factors start: of what is missing to the target, and
    of its square.
    """

    needs = ("student.sparsity",)
    takes_mixed = True  # it looks at no image
    # Constant, whatever the run's schedule, and not decayed.
    learning_rate = 0.02

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        target: Part = 0.25,
        start: Part = 0.0,
        warmup_steps: Annotated[int, Field(ge=0, le=MOST)] = 1000,
        two_sided: bool = False,
        multiplier: float = 10.0,
    ):
        super().__init__()
        self.name, self.weight, self.two_sided = name, weight, two_sided
        self.target, self.start, self.warmup_steps = target, start, warmup_steps
        self.linear = nn.Parameter(torch.tensor(multiplier))
        self.quadratic = nn.Parameter(torch.tensor(multiplier))

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        short = self.target_at(batch.step) - read("student.sparsity", batch, student)
        short = short if self.two_sided else short.clamp(min=0)
        return _Ascend.apply(self.linear) * short + _Ascend.apply(self.quadratic) * short.square()

    def target_at(self, step: int) -> float:
        return self.start + (self.target - self.start) * (
            min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        )


class _Ascend(torch.autograd.Function):
    """The value itself, with its gradient turned round: whoever minimises the loss maximises it over this value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]
