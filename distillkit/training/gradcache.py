"""A large batch in small memory, with the loss of the large batch.

Losses that compare every image with every text cannot be averaged over parts of a batch. So the student sees the parts
one by one without keeping activations, the loss of the whole batch says how each feature should move, and a second pass
over the parts carries that back: the gradient of the whole batch for one forward more.
Gao et al. 2021, https://arxiv.org/abs/2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.recipe import Data
from distillkit.system.spans import span
from distillkit.training.ranks import Ranks
from distillkit.training.reached import moving
from distillkit.types import Batch, Features, concatenated

Loss = tuple[Tensor, dict[str, Tensor]]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def backward_in_parts(
    student: nn.Module,
    see: Callable[[Batch], Features],
    judge: Callable[[Batch, Features], Loss],
    batch: Batch,
    count: int,
    *,
    scaled: Callable[[Tensor], Tensor],
    reseed: Callable[[int], None],
    before_last: Callable[[], None],
    device: torch.device,
) -> Loss:
    """Gradients of the whole batch's loss, `count` parts in memory at a time; returns total and terms.

    `reseed(part)` makes a part's dropout the same in both passes. Batch norm sees one part at a time, as ever.
    """
    parts = split(batch, count)
    seen = []
    with torch.no_grad(), no_statistics(student):
        for number, part in enumerate(parts):
            reseed(number)
            with span("forward", 0, device):  # images count when they are seen for good
                seen.append(see(part))
    leaves = concatenated(seen).map(_leaf)
    with span("loss", len(batch.keys), device):
        total, terms = judge(batch, leaves)
        scaled(moving(total, terms)).backward()
    wanted = _gradients(leaves, seen)
    for number, part in enumerate(parts):
        reseed(number)
        looked_at = part.tokens if part.pixels is None else part.pixels
        size = 0 if looked_at is None else len(looked_at)
        with span("forward", size, device):
            features = see(part)
        if number + 1 == count:
            before_last()
        said = ((getattr(features, name), gradient) for name, gradient in wanted[number].items())
        pairs = [(one, gradient) for one, gradient in said if one.requires_grad]  # a student may say a constant, too
        with span("backward", size, device):
            torch.autograd.backward([one for one, _ in pairs], [gradient for _, gradient in pairs])
    return total, terms


def refuse_more_parts(count: int, data: Data, ranks: Ranks) -> None:
    """RecipeError for more parts than a process has images, or texts, of a batch."""
    what, knob, whole = "images", "batch_size", data.batch_size
    if not data.images and not data.mix:
        what, knob, whole = "texts", "text_batch_size", data.text_batch_size or data.batch_size
    if count > (share := whole // ranks.world):
        raise RecipeError(
            f"optim.accumulate = {count}: a process has {share} {what} of a batch; lower it, or raise data.{knob}"
        )


def split(batch: Batch, count: int) -> list[Batch]:
    """The parts of a batch that a student looks at one by one. Losses see the whole."""

    def pieces(value: Tensor | None) -> tuple[Tensor | None, ...]:
        """Of fewer texts than parts, such as class prompts, some parts have none."""
        if value is None:
            return (None,) * count
        return tuple(piece if len(piece) else None for piece in torch.tensor_split(value, count))

    columns = zip(pieces(batch.pixels), pieces(batch.tokens), pieces(batch.mask), strict=True)
    return [replace(batch, pixels=pixels, tokens=tokens, mask=mask) for pixels, tokens, mask in columns]


def _leaf(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach().requires_grad_(value.is_floating_point())


def _gradients(leaves: Features, seen: list[Features]) -> list[dict[str, Tensor]]:
    """For each part, how its features should move. Numbers without rows, such as a scale, belong to the first part."""
    wanted: list[dict[str, Tensor]] = [{} for _ in seen]
    for name in Features.__dataclass_fields__:
        leaf = getattr(leaves, name)
        if leaf is None or leaf.grad is None:
            continue
        if leaf.ndim == 0:
            wanted[0][name] = leaf.grad
            continue
        rows = [getattr(part, name) for part in seen]
        sizes = [0 if one is None else len(one) for one in rows]
        for part, gradient in zip(wanted, leaf.grad.split(sizes), strict=True):
            if len(gradient):
                part[name] = gradient
    return wanted


def recompute(student: nn.Module) -> None:
    """Gradient checkpointing of every tower that knows it (timm, open_clip)."""
    towers: list[Any] = [module for module in student.modules() if hasattr(module, "set_grad_checkpointing")]
    if not towers:
        raise RecipeError("optim.recompute: this student cannot recompute its activations; leave it out")
    for tower in towers:
        tower.set_grad_checkpointing(True)


@contextmanager
def no_statistics(module: nn.Module) -> Iterator[None]:
    """Running means and other buffers are afterwards what they were: this look at a batch is not the one that counts.
    To be left after its backward pass, which may need them as they are meanwhile.
    """
    norms = [part for part in module.modules() if isinstance(part, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    # By each name that it has, and one that is None until it is first needed, too.
    buffers = [(owner, name, one) for owner in module.modules() for name, one in owner._buffers.items()]
    written = [one for _, _, one in buffers if one is not None and _may_be_written(one)]
    before = [one.clone() for one in written]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for owner, name, one in buffers:
            if getattr(owner, name) is not one:
                setattr(owner, name, one)  # it was replaced by another
        with torch.no_grad():
            # All of them: PyTorch's own batch norm writes what it keeps without a mark that it did.
            if written:
                torch._foreach_copy_(written, before)


def _may_be_written(buffer: Tensor) -> bool:
    """Whether anybody can write it in place: not where several of its numbers are one, as after `expand`."""
    several = any(step == 0 and size > 1 for step, size in zip(buffer.stride(), buffer.shape, strict=True))
    return not several and not buffer.is_inference()


@contextmanager
def several_for_batch_norm() -> Iterator[None]:
    """RecipeError where a batch norm is to find the spread of a single number."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RecipeError(
            "student: batch norm needs several images at once, and here is one; raise data.batch_size, or lower "
            "optim.accumulate or the number of processes"
        ) from error
