"""Bring the student's features to where the teacher's are, one by one.

    L = sum over fields of  mean over rows of  distance( n(W s), n(t) )

| term | knobs | paper |
|---|---|---|
| FD | field image and text | CLIP-KD eq. 11, https://arxiv.org/abs/2307.12732 (weight 2000) |
| MFD | field image and text, masked true | CLIP-KD eq. 12; its released code overwrites the masked image: FD |
| L_mse | over_width sum | OOD, https://arxiv.org/abs/2307.03135; equals 2 (1 - cos) |
| L_mse, un-normalised | over_width sum, normalise false, log true | OOD: log(1 + L/10) |
| cosine, smooth L1 | distance | Theia, https://arxiv.org/abs/2407.20179; UNIC, https://arxiv.org/abs/2408.05088 |

W is linear with bias where the widths differ, else nothing. Of unit vectors, the mean over the width D is
2/D (1 - cos), so a weight is for one width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._gather import concat
from distillkit.losses._heads import projection
from distillkit.losses._score import read, unit
from distillkit.types import Batch, Features, Widths


class FeatureRegression(nn.Module):
    """`field`: the feature of the student that is compared with the teacher's. `masked`: true: the student's image
    feature is that of its second forward pass, with patches left out (student.drop_patches).

    `distance`: how far two vectors are from each other: mean squared error, smooth L1, or 1 - cosine. `normalise`:
    true: both vectors are scaled to length 1 first. `over_width`: whether the distances of a vector's numbers are
    averaged or added; without effect on cosine. `log`: true: the loss is log(1 + L/10) in place of L.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        field: Literal["image", "text", "image and text", "cls", "patches"] = "image",
        masked: bool = False,
        distance: Literal["mse", "smooth_l1", "cosine"] = "mse",
        normalise: bool = True,
        over_width: Literal["mean", "sum"] = "mean",
        log: bool = False,
    ):
        super().__init__()
        self.name, self.weight, self.distance = name, weight, distance
        self.normalise, self.over_width, self.log = normalise, over_width, log
        self.fields = {one: one for one in field.split(" and ")}
        if masked:
            if "image" not in self.fields:
                raise RecipeError(
                    f'losses.feature_regression: masked is about images; set field = "image", not {field!r}'
                )
            self.fields["image"] = "masked_image"
        self.shared = tuple(f"{one}_projection" for one in self.fields)
        for one, source in self.fields.items():
            setattr(self, f"{one}_projection", projection(widths.student[source], widths.teacher[one]))
        pairs = ((f"student.{source}", f"teacher.{one}") for one, source in self.fields.items())
        self.needs = tuple(need for pair in pairs for need in pair)

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        return torch.stack([self._apart(one, batch, student) for one in self.fields]).sum()

    def _apart(self, one: str, batch: Batch, student: Features) -> Float[Tensor, ""]:
        source, target = read(f"student.{self.fields[one]}", batch, student), read(f"teacher.{one}", batch, student)
        if source.shape[:-1] != target.shape[:-1]:
            raise RecipeError(
                f"losses.feature_regression: {one} of the student are {list(source.shape)}, of the teacher "
                f"{list(target.shape)}; choose the student's image_size so that both have as many patches"
            )
        rows = self._distance(getattr(self, f"{one}_projection")(source), target)
        # Ranks have as many images each and may average on their own, but for the logarithm, which is of the mean of
        # all; a batch of texts need not divide evenly.
        mean = (concat(rows) if self.log or one == "text" else rows).mean()
        return (mean / 10).log1p() if self.log else mean

    def _distance(self, x: Float[Tensor, "*n d"], y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        if self.distance == "cosine":
            return 1 - F.cosine_similarity(x, y, dim=-1, eps=1e-12)
        x, y = (unit(x), unit(y)) if self.normalise else (x, y)
        each = (x - y).square() if self.distance == "mse" else F.smooth_l1_loss(x, y, reduction="none")
        # Divided after the sum: a number a row, not one an entry.
        return each.sum(-1) / (x.shape[-1] if self.over_width == "mean" else 1)
