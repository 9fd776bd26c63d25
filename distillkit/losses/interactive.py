"""The student's embeddings against the teacher's candidates of the other modality.

    Z_img = c n(W_i s_img) n(t_txt)^T,   Z_txt = c n(W_t s_txt) n(t_img)^T
    ICL = ( CE(Z_img, match) + CE(Z_txt, match^-1) ) / 2
    XKD = ( KL(b t_img t_txt^T || Z_img) + KL(b t_txt t_img^T || Z_txt) ) / 2

ICL: interactive contrastive learning, CLIP-KD eq. 14-16, https://arxiv.org/abs/2307.12732; XKD: `cross_kd` of its
released code. c is learned here, b is the teacher's scale; W exist where the widths differ.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import gather
from distillkit.losses._heads import LearnedScale, ScaleMode, projection
from distillkit.losses._products import product
from distillkit.losses._score import divergence, matching, pick, picks_image, picks_text, read, unit
from distillkit.recipe.schema import Scale
from distillkit.types import Batch, Features, Widths


class Interactive(nn.Module):
    """`target`: "match": an image should choose its own text, and a text its image (ICL); "teacher": the target is the
    teacher's softmax over its own scores (XKD).

    `logit_scale`: the factor of the student's cosines at the start; it is learned. `scale`: how the factor is learned:
    "exp": as the exponential of a learned number; "raw": as that number itself, as in the released code.
    `teacher_scale`: the factor of the teacher's cosines, where these are the target; "own": the teacher's own factor.
    """

    shared = ("image_projection", "text_projection", "cross_scale")

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        target: Literal["match", "teacher"] = "match",
        logit_scale: Scale = 1 / 0.07,
        scale: ScaleMode = "exp",
        teacher_scale: Scale | Literal["own"] = "own",
    ):
        super().__init__()
        self.name, self.weight, self.target, self.teacher_scale = name, weight, target, teacher_scale
        self.image_projection = projection(widths.student["image"], widths.teacher["text"])
        self.text_projection = projection(widths.student["text"], widths.teacher["image"])
        self.cross_scale = LearnedScale(logit_scale, scale)
        own = ("teacher.scale",) if target == "teacher" and teacher_scale == "own" else ()
        self.needs = ("student.image", "student.text", "teacher.image", "teacher.text", *own)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        scale = self.cross_scale()
        teacher_image, teacher_text = pick("teacher.image", batch, student), pick("teacher.text", batch, student)
        # Both [images, texts], as the teacher's scores are: images pick along rows, texts along columns.
        image = product(scale * unit(self.image_projection(read("student.image", batch, student))), teacher_text.T)
        text = product(teacher_image, (scale * unit(self.text_projection(read("student.text", batch, student)))).T)
        if self.target == "match":
            match = matching(batch)
            return (picks_text(image, match) + picks_image(text, match)) / 2
        with torch.no_grad():
            own = read("teacher.scale", batch, student) if self.teacher_scale == "own" else self.teacher_scale
            targets = product(own * teacher_image, teacher_text.T)
        rows, columns = (divergence(scores, targets, "kl", dim).mean() for scores, dim in ((image, 1), (text, 0)))
        return (rows + columns) / 2
