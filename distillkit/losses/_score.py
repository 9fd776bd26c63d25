"""What every loss over score matrices shares: unit vectors in float32 at least, cross-entropy and divergence.

Their ways back are written out: autograd's own pass over a score matrix five times where two are enough.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

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
    return _Unit.apply(x)


class _Unit(torch.autograd.Function):
    """y = x / |x|;  dx = (dy - y (y . dy)) / |x|"""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=1e-12)
        y = x / length
        ctx.save_for_backward(y, length)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (along,), (y, length) = gradients, ctx.saved_tensors
        return torch.addcmul(along, y, (y * along).sum(-1, keepdim=True), value=-1).div_(length)


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
    return _Picks.apply(scores, match, 1)


def picks_image(scores: Float[Tensor, "b t"], match: Int[Tensor, "b"]) -> Float[Tensor, ""]:
    """Cross-entropy of texts that pick their image, mean over images."""
    return _Picks.apply(scores, match, 0)


class _Picks(torch.autograd.Function):
    """mean over images i of  logsumexp(scores) - scores[i, match i],  over all texts, or all images of its text."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, match: Tensor, dim: int) -> Tensor:
        whole = scores.logsumexp(dim, keepdim=True)
        ctx.dim = dim
        ctx.save_for_backward(scores, whole, match)
        of_image = whole.squeeze(1) if dim else whole[0, match]
        return (of_image - scores.gather(1, match[:, None]).squeeze(1)).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scores, whole, match = ctx.saved_tensors
        share = gradients[0] / len(match)
        # A text that several images have is asked once for each. Counted so, a GPU need not say how long the count is.
        weight = share if ctx.dim else share * _counts(match, scores.shape[1])
        along = (scores - whole).exp_().mul_(weight)
        images = torch.arange(len(match), device=match.device)
        along[images, match] -= share
        return along, None, None


def _counts(match: Int[Tensor, "b"], texts: int) -> Int[Tensor, "t"]:
    """How many images each text describes."""
    return match.new_zeros(texts).scatter_add_(0, match, torch.ones_like(match))


def divergence(
    scores: Float[Tensor, "n m"], targets: Float[Tensor, "n m"], kind: str, dim: int = 1
) -> Float[Tensor, "rows"]:
    """KL( softmax(targets) || softmax(scores) ) along `dim`, or their cross-entropy; the targets are constants."""
    return _Divergence.apply(scores, targets.detach(), kind, dim)


class _Divergence(torch.autograd.Function):
    """sum P (log P - log Q), or -sum P log Q;  d scores = Q - P, either way"""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor, kind: str, dim: int) -> Tensor:
        log_q, log_p = scores.log_softmax(dim), targets.log_softmax(dim)
        p = log_p.exp()
        ctx.dim = dim
        ctx.save_for_backward(log_q, p)
        return log_p.sub_(log_q).mul_(p).sum(dim) if kind == "kl" else -(log_q * p).sum(dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        log_q, p = ctx.saved_tensors
        return log_q.exp().sub_(p).mul_(gradients[0].unsqueeze(ctx.dim)), None, None, None
