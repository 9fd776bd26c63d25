"""Affinity mimicking: softmax(teacher scores) is the target of softmax(student scores), row by row.

    L = reduce over directions of  D( softmax(g_t q_t k_t^T / T) || softmax(g_s q_s k_s^T / T) ),   D = KL or cross-entropy

over unit vectors, mean over rows. What is query and what is key makes the papers' terms:

| term | `between` | paper |
|---|---|---|
| L_vl | image, teacher text | DIME-FM eq. 2, https://arxiv.org/abs/2303.18232 |
| L_pvl | image, teacher image, `symmetric = false` | DIME-FM eq. 4 |
| L_udist | image, image | DIME-FM eq. 3 |
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._score import pick
from distillkit.types import Batch, Features, Widths

Between = Literal["image, teacher text", "image, teacher image", "image, image"]

# (student query, student key), (teacher query, teacher key); the second direction is the transpose.
PAIRS = {
    "image, teacher text": (("student.image", "teacher.text"), ("teacher.image", "teacher.text")),
    "image, teacher image": (("student.image", "teacher.image"), ("teacher.image", "teacher.image")),
    "image, image": (("student.image", "student.image"), ("teacher.image", "teacher.image")),
}


class Affinity(nn.Module):
    """`logit_scale` multiplies cosines on both sides, `temperature` divides them.

    `symmetric = false` lets the row direction stand for both: DIME-FM's L_pvl is twice its row direction.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        between: Between = "image, teacher text",
        logit_scale: float = 100.0,
        temperature: float = 1.0,
        divergence: Literal["kl", "cross_entropy"] = "kl",
        directions: Literal["sum", "mean"] = "sum",
        symmetric: bool = True,
    ):
        super().__init__()
        self.name, self.weight = name, weight
        self.student_pair, self.teacher_pair = PAIRS[between]
        self.needs = tuple(dict.fromkeys((*self.student_pair, *self.teacher_pair)))
        self.multiplier = logit_scale / temperature
        self.divergence, self.directions, self.symmetric = divergence, directions, symmetric

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        scores, targets = (self._scores(pair, batch, student) for pair in (self.student_pair, self.teacher_pair))
        rows = mimic(scores, targets, self.divergence)
        columns = mimic(scores.T, targets.T, self.divergence) if self.symmetric else rows
        return rows + columns if self.directions == "sum" else (rows + columns) / 2

    def _scores(self, pair: tuple[str, str], batch: Batch, student: Features) -> Float[Tensor, "n m"]:
        query, key = (pick(place, batch, student) for place in pair)
        return self.multiplier * query @ key.T


def mimic(scores: Float[Tensor, "n m"], targets: Float[Tensor, "n m"], divergence: str) -> Float[Tensor, ""]:
    """D(softmax(targets) || softmax(scores)) along rows, mean over rows; no gradient reaches the targets."""
    log_student, log_teacher = F.log_softmax(scores, dim=-1), F.log_softmax(targets.detach(), dim=-1)
    if divergence == "kl":
        return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return -(log_teacher.exp() * log_student).sum(dim=-1).mean()
