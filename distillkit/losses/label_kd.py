"""Label distillation: the teacher's class probabilities are the target of the student's.

    L = T^2 KL( P || softmax(s / T) ),   P = softmax(t / T), of which only the k largest are known

Hinton et al. 2015, https://arxiv.org/abs/1503.02531. FKD (https://arxiv.org/abs/2112.01528) and TinyViT keep the top k:
either these are all there is (`rest = "renormalise"`), or what they leave of 1 is spread evenly over the other classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._score import read
from distillkit.types import Batch, Features, Widths


class LabelKD(nn.Module):
    """`top_k = None` takes all classes."""

    needs = ("student.logits", "teacher.logits")

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        top_k: int | None = None,
        rest: Literal["renormalise", "spread"] = "renormalise",
        temperature: float = 1.0,
    ):
        super().__init__()
        classes, theirs = widths.student["logits"], widths.teacher["logits"]
        if classes != theirs:
            raise RecipeError(
                f"losses.label_kd: the student has {classes} classes, the teacher {theirs}; make them equal"
            )
        self.name, self.weight, self.rest, self.temperature = name, weight, rest, temperature
        self.top_k = min(top_k or classes, classes)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        ours, theirs = (read(need, batch, student) / self.temperature for need in self.needs)
        return self.temperature**2 * F.kl_div(ours.log_softmax(1), self._target(theirs), reduction="batchmean")

    def _target(self, logits: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        best, places = logits.softmax(1).topk(self.top_k, dim=1)
        known = best.sum(1, keepdim=True)
        others = logits.shape[1] - self.top_k
        if self.rest == "renormalise" or not others:
            return torch.zeros_like(logits).scatter(1, places, best / known)
        return ((1 - known) / others).clamp(min=0).expand_as(logits).scatter(1, places, best)
