"""What is trained beside the student and thrown away after: projections to the teacher's width, learned logit scales.

A loss names in `shared` the heads that all terms of one recipe have in common (CLIP-KD trains one projection per
modality for FD, ICL, GD and AFD; Proteus one token head for two levels). The Objective hands the first such head to the
later terms.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._products import Linear

ScaleMode = Literal["exp", "raw"]

_MAX_LOG_SCALE = math.log(100.0)


def projection(student_width: int, teacher_width: int) -> nn.Module:
    """A linear layer with bias where the widths differ; nothing where they agree."""
    return nn.Identity() if student_width == teacher_width else Linear(student_width, teacher_width)


class LearnedScale(nn.Module):
    """A logit multiplier exp(value), which starts at `start`; at most 100, if it is `learned`.

    `raw` leaves out the exp: CLIP-KD's released code multiplies by log(1/0.07) = 2.66 where 14.3 is meant.
    """

    def __init__(self, start: float, mode: ScaleMode = "exp", learned: bool = True):
        super().__init__()
        self.mode, self.start = mode, start
        self.value = nn.Parameter(torch.tensor(math.log(start)), requires_grad=learned)

    def forward(self) -> Float[Tensor, ""]:
        if self.mode == "raw":
            return self.value
        if self.value.requires_grad:
            with torch.no_grad():
                self.value.clamp_(max=_MAX_LOG_SCALE)
        return self.value.exp()

    @property
    def capped(self) -> bool:
        """Whether it starts above what it may be."""
        return self.mode == "exp" and self.value.requires_grad and math.log(self.start) > _MAX_LOG_SCALE

    def extra_repr(self) -> str:
        return f"{self.mode}, start={self.start:g}"
