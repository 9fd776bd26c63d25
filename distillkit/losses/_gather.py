"""One batch out of the batches of all ranks, with gradients. One process, or no torch.distributed: nothing happens.

Convention: every rank computes the loss of the whole batch, so its value is the same everywhere. The gradient of a
gathered row is summed over ranks on its way back to the rank it came from; that rank's parameters thus receive
world-size times their share, and DistributedDataParallel's mean over ranks makes it the gradient that one process
would have on the concatenated batch. Heads and scales on the loss see the whole batch on every rank: the mean keeps
their gradient as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from distillkit.types import Batch, Features


def gather(batch: Batch, student: Features, needs: tuple[str, ...]) -> tuple[Batch, Features]:
    """`batch` and `student` with the fields in `needs` concatenated over ranks, and `match` counted accordingly.

    Texts that every rank has (class prompts, merged captions) stay as this rank's student says them, which may differ
    from what the others' say where dropout or masks are drawn. Ranks may hold different numbers of rows.
    """
    if not _several_ranks():
        return batch, student
    sides = {"teacher": batch.teacher, "student": student}
    fields = [tuple(need.split(".")) for need in needs if not need.endswith(".scale")]
    texts = [getattr(sides[side], field) for side, field in fields if field == "text"]
    match = batch.match
    if texts and (_same_everywhere(texts[-1]) if batch.texts_shared is None else batch.texts_shared):
        fields = [(side, field) for side, field in fields if field != "text"]
    elif texts and match is not None:
        match = match + sum(_sizes(texts[-1])[: dist.get_rank()])
    whole = {
        name: replace(features, **{field: concat(getattr(features, field)) for side, field in fields if side == name})
        for name, features in sides.items()
    }
    return replace(batch, teacher=whole["teacher"], match=None if match is None else concat(match)), whole["student"]


def concat(x: Tensor) -> Tensor:
    """The rows of all ranks, in their order."""
    return _Concat.apply(x, _sizes(x)) if _several_ranks() else x


class _Concat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = x
        return torch.cat([rows[:size] for rows, size in zip(_all(padded), sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole.split(ctx.sizes)[dist.get_rank()], None


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _all(x: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x)
    return parts


def _sizes(x: Tensor) -> list[int]:
    return [int(size) for size in torch.cat(_all(torch.tensor([len(x)], device=x.device))).tolist()]


def _same_everywhere(x: Tensor) -> bool:
    """Decided from what all ranks sent, hence alike on all ranks."""
    return len(set(_sizes(x))) == 1 and all(torch.equal(part, x) for part in _all(x.detach().contiguous()))
