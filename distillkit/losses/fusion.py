"""AFD, augmented feature distillation: contrast student and teacher fused, image against text.

    L = nce( f n(V_i [p_img ; t_img]) n(V_t [p_txt ; t_txt])^T ),   p = n(W s),  nce as in contrastive.py

CLIP-KD, https://arxiv.org/abs/2307.12732. V are linear with bias, f is learned, W exist where the widths differ. The
released code stops with a shape error when they do, as its V expect the student's width; here V take what they get:
twice the teacher's width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import gather
from distillkit.losses._heads import LearnedScale, ScaleMode, projection
from distillkit.losses._products import Linear, product
from distillkit.losses._score import matching, pick, picks_image, picks_text, read, unit
from distillkit.recipe.schema import Scale
from distillkit.types import Batch, Features, Widths


class Fusion(nn.Module):
    """`logit_scale`: the factor of the cosines at the start; it is learned. `scale`: how the factor is learned: "exp":
    as the exponential of a learned number; "raw": as that number itself, as in the released code.
    """

    needs = ("student.image", "student.text", "teacher.image", "teacher.text")
    shared = ("image_projection", "text_projection")

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        logit_scale: Scale = 1 / 0.07,
        scale: ScaleMode = "exp",
    ):
        super().__init__()
        self.name, self.weight = name, weight
        student, teacher = widths.student, widths.teacher
        self.image_projection = projection(student["image"], teacher["image"])
        self.text_projection = projection(student["text"], teacher["text"])
        self.image_fusion = Linear(2 * teacher["image"], student["image"])
        self.text_fusion = Linear(2 * teacher["text"], student["text"])
        self.fusion_scale = LearnedScale(logit_scale, scale)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        image, text = self._fused("image", batch, student), self._fused("text", batch, student)
        scores, match = product(self.fusion_scale() * image, text.T), matching(batch)
        return (picks_text(scores, match) + picks_image(scores, match)) / 2

    def _fused(self, field: str, batch: Batch, student: Features) -> Float[Tensor, "n d"]:
        projected = unit(getattr(self, f"{field}_projection")(read(f"student.{field}", batch, student)))
        both = torch.cat([projected, pick(f"teacher.{field}", batch, student)], dim=1)
        return unit(getattr(self, f"{field}_fusion")(both))
