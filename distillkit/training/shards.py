"""A student spread over the ranks: each keeps a part of every weight, of its gradient and of its optimiser state.

A block's weights are brought together just before it is computed, and given back after: FSDP2, Zhao et al. 2023,
https://arxiv.org/abs/2304.11277, https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html. On the disk
everything is whole, so a run goes on spread or not, on any number of ranks. Losses and single numbers, such as a
learned scale, are on every rank.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.errors import RecipeError, TrainError
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|resblocks|layers|layer|stages)\.\d+$")
_SINCE = (2, 7)  # of PyTorch: parameters can be left out


def shard(student: nn.Module, device: torch.device, ranks: Ranks, compiled: bool = False) -> None:
    """Keep this rank's part of the student's weights, on `device`. `compiled`: torch.compile its blocks."""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SINCE:
        raise TrainError(f"optim.shard: needs PyTorch {_SINCE[0]}.{_SINCE[1]} or newer, this is {torch.__version__}")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (ranks.world,))
    single = {parameter for parameter in student.parameters() if parameter.ndim == 0}
    blocks = [module for name, module in student.named_modules() if _BLOCK.search(name)]
    for block in blocks if compiled else ():
        block.compile()
    for part in (*reversed(blocks), student):  # what is inside comes first
        fully_shard(part, mesh=mesh, ignored_params=single)
    # Losses leave what a student gives as it is.
    warnings.filterwarnings("ignore", rf"FSDP2-wrapped module \({type(student).__name__}\) returned a view")


def see(student: nn.Module, batch: Batch) -> Features:
    """What a spread student says; RecipeError when it uses weights of a block outside of the block."""
    try:
        return student(batch)
    except RuntimeError as error:
        if "mixed torch.Tensor and DTensor" not in str(error):
            raise
        raise RecipeError(
            "optim.shard: this student uses weights of a block outside of it, as slim ones do; leave optim.shard out"
        ) from error


def spread(value: Any) -> bool:
    """Whether this rank holds but a part of a tensor."""
    return hasattr(value, "full_tensor")


def own(value: Any) -> Tensor:
    """This rank's part of a tensor, or all of one that is not spread."""
    return value.to_local() if spread(value) else value


def whole(value: Any) -> Tensor:
    """All of a tensor. Ranks ask for a spread one together."""
    return value.full_tensor() if spread(value) else value


def cut(value: Tensor, like: Any) -> Tensor:
    """A whole tensor, spread as `like` is; as it was if `like` is not spread, or has another shape."""
    if not spread(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import DTensor

    mesh = like.device_mesh
    parts = value.chunk(mesh.size())  # as fully_shard cuts; there may be fewer parts than ranks
    mine = parts[mesh.get_local_rank()] if mesh.get_local_rank() < len(parts) else value[:0]
    # A copy, so that the whole does not stay in memory for its part.
    mine = mine.to(like.device, copy=True)
    return DTensor.from_local(mine, mesh, like.placements, shape=like.shape, stride=like.stride())


def gathered(student: nn.Module, into: nn.Module | None) -> None:
    """Bring a spread student's weights together in a plain copy of it, or only help the rank that has one."""
    places = into.state_dict() if into is not None else {}
    for name, value in student.state_dict().items():
        all_of_it = whole(value.detach())
        if into is not None:
            places[name].copy_(all_of_it)


def norm(gradients: Iterable[Tensor], ranks: Ranks) -> Tensor:
    """The norm of gradients of which some are spread over the ranks, and the others are the same on all."""
    squares = [(spread(gradient), own(gradient).norm().square()) for gradient in gradients]
    if not squares:
        return torch.zeros(())
    zero = torch.zeros_like(squares[0][1])
    parts, others = (sum((one for which, one in squares if which == kind), zero) for kind in (True, False))
    return (ranks.mean(parts) * ranks.world + others).sqrt()


def clip(parameters: Iterable[Tensor], most: float, ranks: Ranks) -> None:
    """nn.utils.clip_grad_norm_ where some gradients are spread over the ranks."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    share = (most / (norm(gradients, ranks) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        own(gradient).mul_(share)
