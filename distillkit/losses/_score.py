"""What every loss over score matrices shares: unit vectors in float32 at least, cross-entropy and divergence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import RecipeError
from distillkit.types import Batch, Features, Widths


def read(place: str, batch: Batch, student: Features) -> Tensor:
    """The values at "student.image", "teacher.scale", ... in float32 at least; the teacher's are constants."""
    side, field = place.split(".")
    value = getattr(student, field) if side == "student" else getattr(batch.teacher, field).detach()
    return value if value.dtype == torch.float64 else value.float()


def refuse_other_widths(widths: Widths, one: str, other: str, kind: str) -> None:
    """RecipeError unless the features at two places, such as "student.image", are equally wide."""
    a, b = (getattr(widths, side)[field] for side, field in (place.split(".") for place in (one, other)))
    if a != b:
        told = f"losses.{kind} compares {one}, {a} wide, with {other}, {b} wide"
        raise RecipeError(f"{told}; set student.embed_dim to the teacher's width")


def unit(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Rows scaled to length 1; a zero row stays zero."""
    return F.normalize(x, dim=-1, eps=1e-12)


def pick(place: str, batch: Batch, student: Features) -> Float[Tensor, "n d"]:
    """The features at "student.image", "teacher.text", ... as unit vectors."""
    return unit(read(place, batch, student))


def matching(batch: Batch) -> Int[Tensor, "b"]:
    """For every image the text that describes it."""
    if batch.match is None:
        raise RecipeError(
            "a loss needs to know which text describes each image, and this data does not pair them; "
            "set data.captions, or take a loss for unpaired texts such as affinity"
        )
    return batch.match


def picks_text(scores: Float[Tensor, "b t"], match: Int[Tensor, "b"]) -> Float[Tensor, ""]:
    """Cross-entropy of images that pick their text, mean over images."""
    return (scores.logsumexp(1) - _hits(scores, match)).mean()


def picks_image(scores: Float[Tensor, "b t"], match: Int[Tensor, "b"]) -> Float[Tensor, ""]:
    """Cross-entropy of texts that pick their image, mean over images."""
    return (scores.logsumexp(0)[match] - _hits(scores, match)).mean()


def _hits(scores: Float[Tensor, "b t"], match: Int[Tensor, "b"]) -> Float[Tensor, "b"]:
    return scores.gather(1, match[:, None]).squeeze(1)


def divergence(
    scores: Float[Tensor, "n m"], targets: Float[Tensor, "n m"], kind: str, dim: int = 1
) -> Float[Tensor, "rows"]:
    """KL( softmax(targets) || softmax(scores) ) along `dim`, or their cross-entropy; the targets are constants."""
    student, teacher = F.log_softmax(scores, dim), F.log_softmax(targets.detach(), dim)
    return (teacher.exp() * ((teacher - student) if kind == "kl" else -student)).sum(dim)
