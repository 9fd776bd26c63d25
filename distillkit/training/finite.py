"""What is not a number, noticed before anything relies on it: losses, their gradients, and weights that are to be kept.

A loss may be finite where its gradient is not (a root or a norm at zero), and a gradient where the weights after its
step are not (a learning rate that is far too high).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from distillkit.errors import TrainError
from distillkit.training.ranks import Ranks
from distillkit.training.shards import own

Named = Iterable[tuple[str, Tensor]]
_LOWEST_SCALE = 1.0  # of float16: where no gradient is finite down to it, none will be


class NotFinite(TrainError):
    """A step that nobody can learn from, on this rank or another. Carries this one's terms, for a closer look."""

    def __init__(self, terms: dict[str, Tensor], told: str):
        self.terms = {name: value.item() for name, value in terms.items()}
        super().__init__(told)


def refuse_step(
    total: Tensor,
    terms: dict[str, Tensor],
    parameters: Named,
    scaler: torch.amp.GradScaler,
    ranks: Ranks,
    leaving: bool = False,
) -> bool:
    """NotFinite where the total or a gradient is not finite. Gradients are averaged; ranks ask together, and in the
    same breath whether any of them is `leaving`, which is returned.

    In float16 a gradient that is too large is no error: its step is left out, and the next one has a lower scale.
    """
    gradients = {name: own(one.grad) for name, one in parameters if one.grad is not None}
    largest = _largest(gradients, total.device)
    if scaler.is_enabled():
        scale = scaler.scale(torch.ones_like(largest))  # on the device, which need not be waited for
        largest = torch.where(scale > _LOWEST_SCALE, 0.0, largest)
    wants = torch.full_like(largest, float(leaving))
    told = ranks.mean(torch.stack([total.detach().float(), largest, wants]))
    loss, gradient, anybody = torch.stack([*told[:2].isfinite(), told[2] > 0]).tolist()
    if loss and gradient:  # if not, all ranks stop, or one would go on with its gradients
        return bool(anybody)
    means = {name: ranks.mean(value.detach()) for name, value in terms.items()}
    bad = [f"{name} = {value.item()}" for name, value in means.items() if not value.isfinite()]
    whole = f"the gradient of {_which(gradients)} is not finite, though the losses are"
    raise NotFinite(terms, ", ".join(bad) or (whole if loss else "the total is not finite"))


def refuse_weights(parameters: Named, ranks: Ranks, device: torch.device) -> None:
    """NotFinite where a weight is not finite. Ranks that have a part each ask together."""
    weights = {name: own(one.detach()) for name, one in parameters if one.is_floating_point()}
    if not ranks.mean(_largest(weights, device)).isfinite():
        raise NotFinite({}, f"{_which(weights)} is not finite after it, though the losses were")


def _largest(tensors: dict[str, Tensor], device: torch.device) -> Tensor:
    """The largest magnitude, in one pass over all; NaN and infinity are the largest. No sum: it cannot overflow."""
    there = [one for one in tensors.values() if one.numel()]
    norms = torch._foreach_norm(there, float("inf")) if there else []
    return torch.stack([torch.zeros((), device=device), *(one.float() for one in norms)]).max()


def _which(tensors: dict[str, Tensor]) -> str:
    """The first that is not finite here; it may be another rank's part."""
    found = (name.removeprefix("student.") for name, one in tensors.items() if not one.isfinite().all())
    return next(found, "a parameter")
