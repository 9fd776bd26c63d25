"""The contrastive loss: each image picks its text among the batch's texts, and each text picks its image.

    L = ( CE(Z, match) + CE(Z^T, match^-1) ) / 2,   Z = scale * n(image) n(text)^T

CLIP, Radford et al. 2021, https://arxiv.org/abs/2103.00020. Several images may share a text; each then counts as its
positive.

| term | knobs | paper |
|---|---|---|
| task CLIP | logit_scale student | CLIP-KD and TinyCLIP (hard loss) |
| L_cls | text teacher, directions rows, logit_scale 14.2857, learned_scale false | OOD |
| L_cst | against teacher image, directions rows or both, logit_scale 14.2857, learned_scale false | OOD |

OOD: https://arxiv.org/abs/2307.03135, scale 1/0.07; it calls rows "single" and both "bidirectional".
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import gather
from distillkit.losses._heads import LearnedScale
from distillkit.losses._products import product
from distillkit.losses._score import matching, pick, picks_image, picks_text, read, refuse_other_widths
from distillkit.recipe.schema import Scale
from distillkit.types import Batch, Features, Widths


class Contrastive(nn.Module):
    """`text`: whose text embeddings are compared with the student's image embeddings. `against`: what images are
    compared with: a "text", or the "teacher image", the teacher's embedding of each image.

    `logit_scale`: the factor of the cosines. A number: where this loss's own factor starts, which is learned and at
    most 100; "student": the factor that the student learns. `learned_scale`: false: this loss's own factor stays where
    it starts. `directions`: "both": images choose among texts, and texts among images; "rows": images alone.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        text: Literal["student", "teacher"] = "student",
        against: Literal["text", "teacher image"] = "text",
        logit_scale: Scale | Literal["student"] = 1 / 0.07,
        learned_scale: bool = True,
        directions: Literal["both", "rows"] = "both",
    ):
        super().__init__()
        self.name, self.weight, self.directions = name, weight, directions
        self.keys = f"{text}.text" if against == "text" else "teacher.image"
        refuse_other_widths(widths, "student.image", self.keys, "contrastive")
        self.scale = None if logit_scale == "student" else LearnedScale(logit_scale, learned=learned_scale)
        self.takes_mixed = directions == "rows" and against == "text"
        self.needs = ("student.image", self.keys, *(("student.scale",) if self.scale is None else ()))

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        scale = read("student.scale", batch, student) if self.scale is None else self.scale()
        scores = product(scale * pick("student.image", batch, student), pick(self.keys, batch, student).T)
        own = torch.arange(len(scores), device=scores.device)
        match = own if self.keys == "teacher.image" else matching(batch)
        if self.directions == "rows":
            return picks_text(scores, match)
        return (picks_text(scores, match) + picks_image(scores, match)) / 2
