"""Labels as a classifier learns them: cross-entropy with the one class that the corpus says each image is of.

    L = CE(W x + b, label)

What Proteus leaves out, and tries beside its terms (https://arxiv.org/abs/2407.10366): with labels a student fits the
proxy set's classes, and transfers less. Needs `data.labels = true`.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._score import read
from distillkit.recipe.schema import Share
from distillkit.types import Batch, Features, Widths


class OneHot(nn.Module):
    """`on`: what the linear classifier reads: the student's embedding, "image", or its class token, "cls". `smoothing`:
    the share of the target that is spread evenly over all classes; 0: none.
    """

    takes_mixed = True

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        on: Literal["image", "cls"] = "image",
        smoothing: Share = 0.0,
    ):
        super().__init__()
        self.name, self.weight, self.smoothing = name, weight, smoothing
        self.needs = (f"student.{on}", "teacher.label")
        self.classifier = nn.Linear(widths.student[on], widths.teacher["label"])

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        seen, label = (read(need, batch, student) for need in self.needs)
        return F.cross_entropy(self.classifier(seen), label.long(), label_smoothing=self.smoothing)
