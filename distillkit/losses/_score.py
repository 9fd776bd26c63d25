"""What every loss over score matrices shares: unit vectors, in float32 at least."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.types import Batch, Features


def unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows scaled to length 1 (a zero row stays zero); half precision is raised to float32 first."""
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1, eps=1e-12)


def pick(place: str, batch: Batch, student: Features) -> Float[Tensor, "n d"]:
    """The features at "student.image", "teacher.text", ... as unit vectors."""
    side, field = place.split(".")
    return unit(getattr(student if side == "student" else batch.teacher, field))
