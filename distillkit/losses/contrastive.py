"""The CLIP loss: each image picks its text among the batch's texts, and each image is picked by its text.

    L = ( CE(Z, match) + CE(Z^T, match^-1) ) / 2,   Z = scale * n(image) n(text)^T

Radford et al. 2021, https://arxiv.org/abs/2103.00020. Several images may share a text; each then counts as its positive.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._score import pick
from distillkit.types import Batch, Features, Widths

MAX_LOG_SCALE = math.log(100.0)


class Contrastive(nn.Module):
    """`text`: whose text features stand against the student's images. The logit scale is learned, and at most 100.

    `learned_scale = false` keeps it at `logit_scale`.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        text: Literal["student", "teacher"] = "student",
        logit_scale: float = 1 / 0.07,
        learned_scale: bool = True,
    ):
        super().__init__()
        self.name, self.weight = name, weight
        self.text = f"{text}.text"
        self.needs = ("student.image", self.text)
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)), requires_grad=learned_scale)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        with torch.no_grad():
            self.log_scale.clamp_(max=MAX_LOG_SCALE)
        scores = self.log_scale.exp() * pick("student.image", batch, student) @ pick(self.text, batch, student).T
        images = torch.arange(len(scores), device=scores.device)
        picked_text = F.cross_entropy(scores, batch.match)
        picked_image = -F.log_softmax(scores, dim=0)[images, batch.match].mean()
        return (picked_text + picked_image) / 2
