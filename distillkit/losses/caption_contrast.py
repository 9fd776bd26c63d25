"""L_cap: each image picks its own caption among the batch's; captions of images of the same class are no wrong answers.

    L = CE(M, arange),  M = n(s_img) n(caption)^T / temperature,  M_ij = -inf where i != j have the same class

OOD distillation, https://arxiv.org/abs/2307.03135. Its released code uses no temperature (1) and -1e7 for -inf.
`teacher.caption` holds one caption per image; `match` holds the images' classes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import concat
from distillkit.losses._products import product
from distillkit.losses._score import matching, pick, picks_text
from distillkit.recipe.schema import Temperature
from distillkit.types import Batch, Features, Widths


class CaptionContrast(nn.Module):
    """`temperature`: what the cosines are divided by."""

    needs = ("student.image", "teacher.caption")

    def __init__(self, widths: Widths, *, name: str | None = None, weight: float = 1.0, temperature: Temperature = 1.0):
        super().__init__()
        self.name, self.weight, self.temperature = name, weight, temperature

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        image, caption = (concat(pick(place, batch, student)) for place in self.needs)
        label, own = concat(matching(batch)), torch.arange(len(image), device=image.device)
        twins = (label[:, None] == label).fill_diagonal_(False)
        scores = (product(image, caption.T) / self.temperature).masked_fill(twins, -torch.inf)
        return picks_text(scores, own)
