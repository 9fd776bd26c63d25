"""Label distillation: the teacher's class probabilities are the target of the student's.

    L = T^2 KL( P || softmax(s / T) ),   P = softmax(t / T), of which only the k largest are known

Hinton et al. 2015, https://arxiv.org/abs/1503.02531. FKD (https://arxiv.org/abs/2112.01528) and TinyViT keep the top k:
either these are all there is (`rest = "renormalise"`), or what they leave of 1 is spread evenly over the other classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._score import read
from distillkit.recipe.schema import Count, Temperature
from distillkit.system.wording import count
from distillkit.types import Batch, Features, Widths


class LabelKD(nn.Module):
    """`top_k`: how many of the teacher's best classes are used; if not given, all, or as many as the store has. `rest`:
    what becomes of the probability that the top k classes leave of 1 (FKD, https://arxiv.org/abs/2112.01528; TinyViT):
    "renormalise": these classes are scaled to sum 1; "spread": it is spread evenly over the other classes.

    `temperature`: what the logits of student and teacher are divided by before their softmax; a higher one gives more
    weight to what the teacher thinks of wrong classes.
    """

    needs = ("student.logits", "teacher.logits")
    takes_mixed = True

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        top_k: Count | None = None,
        rest: Literal["renormalise", "spread"] = "renormalise",
        temperature: Temperature = 1.0,
    ):
        super().__init__()
        classes, theirs = widths.student["logits"], widths.teacher["logits"]
        if classes != theirs:
            raise RecipeError(
                f"losses.label_kd: the student has {count(classes, 'class', 'classes')}, the teacher "
                f"{theirs}; make them equal"
            )
        self.name, self.weight, self.rest, self.temperature = name, weight, rest, temperature
        self.asked, self.top_k = top_k, min(top_k or classes, classes)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        ours = (read("student.logits", batch, student) / self.temperature).log_softmax(1)
        target, places = self._target(batch)
        found = _gap(target, ours.gather(1, places))
        others = ours.shape[1] - places.shape[1]
        if self.rest == "spread" and others:
            # The other classes share one target, so their sum is all that is needed of them.
            share = ((1 - target.sum(1)) / others).clamp(min=0)
            theirs = ours.sum(1) - ours.gather(1, places).sum(1)
            found = found + torch.xlogy(others * share, share) - share * theirs
        return self.temperature**2 * found.mean()

    def _target(self, batch: Batch) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
        """The k largest probabilities of the teacher, and the classes that they belong to."""
        logits = read("teacher.logits", batch, Features()) / self.temperature
        classes = batch.teacher.classes
        if classes is None:
            best, places = logits.softmax(1).topk(self.top_k, dim=1)
        else:
            self._refuse(stored=classes.shape[1])
            # Log-probabilities: at temperature 1 their exponentials are what the teacher said of all classes.
            best, places = logits[:, : self.top_k].exp(), classes[:, : self.top_k].long()
        return (best / best.sum(1, keepdim=True) if self.rest == "renormalise" else best), places

    def _refuse(self, stored: int) -> None:
        """RecipeError for what the stored classes cannot tell."""
        if self.asked and self.asked > stored:
            raise RecipeError(f"losses.label_kd: top_k = {self.asked}, the store keeps the {stored} best; take fewer")
        if self.rest == "spread" and self.temperature != 1:
            raise RecipeError(
                'losses.label_kd: rest = "spread" needs temperature = 1 where the store keeps the best classes only; '
                'set temperature = 1, or rest = "renormalise"'
            )


def _gap(target: Float[Tensor, "b k"], ours: Float[Tensor, "b k"]) -> Float[Tensor, "b"]:
    return (torch.xlogy(target, target) - target * ours).sum(1)
