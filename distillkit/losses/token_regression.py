"""Proteus: the student's tokens predict the teacher's, through heads H = linear(layer norm).

    L_token   = mean (H_tok(cls) - t_cls)^2
    L_feature = mean over all tokens of ([H_tok(cls); H_fea(patches)] - [t_cls; t_patches])^2
    L_patch   = mean over masked places of (H_patch(masked) - t_patches)^2

https://arxiv.org/abs/2407.10366. Raw features, means also over the teacher's width. `masked` are the student's patch
tokens where `batch.mask` hid patches from it; the teacher saw all. With CLIP teachers the paper uses L_token alone.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.losses._gather import concat
from distillkit.losses._products import Linear
from distillkit.losses._score import read
from distillkit.system.wording import count as counted
from distillkit.types import Batch, Features, Widths

NEEDS = {
    "token": ("student.cls", "teacher.cls"),
    "feature": ("student.cls", "student.patches", "teacher.cls", "teacher.patches"),
    "patch": ("student.masked", "teacher.patches"),
}


class TokenRegression(nn.Module):
    """`level`: which of the student's tokens predict the teacher's: "token": the class token; "feature": the class
    token and all patches; "patch": the patches that a mask hid from the student (data.mask). Terms of one recipe share
    the head of the class token.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        name: str | None = None,
        weight: float = 1.0,
        level: Literal["token", "feature", "patch"] = "token",
    ):
        super().__init__()
        self.name, self.weight, self.level, self.needs = name, weight, level, NEEDS[level]
        self.shared = () if level == "patch" else ("token_head",)
        if level == "patch":
            self.patch_head = head(widths.student["masked"], widths.teacher["patches"])
            return
        self.token_head = head(widths.student["cls"], widths.teacher["cls"])
        if level == "feature":
            self.feature_head = head(widths.student["patches"], widths.teacher["patches"])

    def forward(self, batch: Batch, student: Features) -> Float[Tensor, ""]:
        values = [read(need, batch, student) for need in self.needs]
        if self.level == "token":
            return F.mse_loss(self.token_head(values[0]), values[1])
        if self.level == "feature":
            cls, patches, teacher_cls, teacher_patches = values
            _refuse_other_grid(patches, teacher_patches)
            ours = torch.cat([self.token_head(cls)[:, None], self.feature_head(patches)], dim=1)
            return F.mse_loss(ours, torch.cat([teacher_cls[:, None], teacher_patches], dim=1))
        (masked, teacher_patches), mask = values, batch.mask
        assert mask is not None  # without one a student says nothing of masked patches
        _refuse_other_grid(masked, teacher_patches)
        errors = self._errors(masked, teacher_patches, mask)
        # Where half of a batch is masked, some ranks have all of it and others none.
        total, count = (concat(one[None]).sum() for one in (errors.sum(), mask.sum() * errors.shape[-1]))
        return total / count.clamp(min=1)

    def _errors(self, masked: Tensor, targets: Tensor, mask: Bool[Tensor, "b p"]) -> Tensor:
        """Squared errors at the masked places.

        On a GPU of all places, with zeros elsewhere: to pick some, the host would wait to hear how many they are.
        """
        if mask.device.type == "cpu":
            return (self.patch_head(masked[mask]) - targets[mask]).square()
        return (self.patch_head(masked) - targets).square() * mask[..., None]


def head(student_width: int, teacher_width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(student_width, eps=1e-5), Linear(student_width, teacher_width))


def _refuse_other_grid(student: Float[Tensor, "b p e"], teacher: Float[Tensor, "b q f"]) -> None:
    if student.shape[1] != teacher.shape[1]:
        raise RecipeError(
            f"losses.token_regression: the student has {counted(student.shape[1], 'patch', 'patches')}, the "
            f"teacher {teacher.shape[1]}; "
            "choose the student's image_size so that both grids agree"
        )
