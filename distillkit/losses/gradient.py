"""GD, gradient distillation: the contrastive loss must pull the student's embeddings as it pulls the teacher's.

    L = sum over (p, k) in {(img, txt), (txt, img)} of  mean (Gs_p - Gt_p)^2 + mean (Gs_k - Gt_k)^2
    G_p = v/B E k,  G_k = v/B E^T p,  E = softmax(v p k^T) - I

CLIP-KD eq. 13 and appendix A, https://arxiv.org/abs/2307.12732; means over B*D. The released code builds a B x D x B
tensor and calls v = 1/scale, logits *divided* by 14..100 (hence its weight 1e8): mode "code". Here G are matrix
products, both directions from one score matrix, and mode "tau" is the true v = scale.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.losses._gather import gather
from distillkit.losses._heads import projection
from distillkit.losses._products import product
from distillkit.losses._score import matching, pick, read, unit
from distillkit.recipe.schema import Scale
from distillkit.types import Batch, Features, Widths


class Gradient(nn.Module):
    """`logit_scale`: the factor of cosines: a number, the same for student and teacher, or "own", each network's own.

    `mode`: what cosines are multiplied by: "tau": the factor, as in the paper; "code": 1 / the factor, as in the
    released code, which makes gradients tiny (hence its weight of 1e8).
    """

    shared = ("image_projection", "text_projection")

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        mode: Literal["tau", "code"] = "tau",
        logit_scale: Scale | Literal["own"] = "own",
    ):
        super().__init__()
        self.name, self.weight, self.mode, self.logit_scale = name, weight, mode, logit_scale
        self.image_projection = projection(widths.student["image"], widths.teacher["image"])
        self.text_projection = projection(widths.student["text"], widths.teacher["text"])
        scales = ("student.scale", "teacher.scale") if logit_scale == "own" else ()
        self.needs = ("student.image", "student.text", "teacher.image", "teacher.text", *scales)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        batch, student = gather(batch, student, self.needs)
        match = matching(batch)
        image = unit(self.image_projection(read("student.image", batch, student)))
        text = unit(self.text_projection(read("student.text", batch, student)))[match]
        ours = pulls(image, text, self._inverse_temperature("student", batch, student))
        with torch.no_grad():
            image, text = pick("teacher.image", batch, student), pick("teacher.text", batch, student)[match]
            theirs = pulls(image, text, self._inverse_temperature("teacher", batch, student))
        return torch.stack([F.mse_loss(own, target) for own, target in zip(ours, theirs, strict=True)]).sum()

    def _inverse_temperature(self, side: str, batch: Batch, student: Features) -> Tensor | float:
        scale = read(f"{side}.scale", batch, student) if self.logit_scale == "own" else self.logit_scale
        return scale if self.mode == "tau" else 1 / scale


def pulls(image: Float[Tensor, "b d"], text: Float[Tensor, "b d"], v: Tensor | float) -> list[Float[Tensor, "b d"]]:
    """Gradients of both cross-entropies with respect to image and text: G_p, G_k of (img, txt), then of (txt, img)."""
    scores = product(v * image, text.T)
    texts_of_image, images_of_text = scores.softmax(1), scores.softmax(0)
    factor = v / len(scores)
    return [
        factor * (product(texts_of_image, text) - text),
        factor * (product(texts_of_image.T, image) - image),
        factor * (product(images_of_text.T, image) - image),
        factor * (product(images_of_text, text) - text),
    ]
