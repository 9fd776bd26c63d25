"""The sigmoid contrastive loss: every pair of image and text is one yes-or-no question.

    L = - 1/B sum_ij log sigmoid( y_ij (scale n(image_i) n(text_j)^T + bias) )

y is +1 where text j describes image i, else -1. SigLIP, Zhai et al. 2023, https://arxiv.org/abs/2303.15343. Scale and
bias are learned and start at 10 and -10.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import gather
from distillkit.losses._heads import LearnedScale
from distillkit.losses._products import product
from distillkit.losses._score import matching, pick
from distillkit.recipe.schema import Scale
from distillkit.types import Batch, Features, Widths


class Sigmoid(nn.Module):
    """`text`: whose text embeddings are compared with the student's image embeddings. `logit_scale`: the factor of the
    cosines at the start; it is learned. `bias`: what is added to the scores at the start; it is learned.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        text: Literal["student", "teacher"] = "student",
        logit_scale: Scale = 10.0,
        bias: float = -10.0,
    ):
        super().__init__()
        self.name, self.weight = name, weight
        self.needs = ("student.image", f"{text}.text")
        self.scale = LearnedScale(logit_scale)
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        image, text = (pick(place, batch, student) for place in self.needs)
        scores = product(self.scale() * image, text.T) + self.bias
        own = scores[torch.arange(len(scores), device=scores.device), matching(batch)]
        # -log sigmoid(z) = softplus(z) - z: every pair costs softplus, the true ones get z back.
        return (F.softplus(scores).sum() - own.sum()) / len(scores)
