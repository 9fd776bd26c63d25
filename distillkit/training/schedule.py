"""Optimiser groups and the learning rate of a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.recipe import Optim
from distillkit.students._layers import distances
from distillkit.system.wording import count
from distillkit.training.shards import spread

# Names that the papers' code exempts from weight decay, beside every parameter with one axis or none, embeddings of
# words, and what a network exempts itself (timm's: class tokens, registers, biases and scales of attention).
_NO_DECAY = (
    "positional_embedding",
    "token_embedding",
    "relative_position_bias_table",
    "absolute_pos_embed",
    "pos_embed",
)
# OneCycle's shape, as in torch.optim.lr_scheduler.OneCycleLR: rise for 30 %, from 1/25, down to 1/250,000.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 250_000


def make_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """AdamW or SGD over the trained parameters of `model`; biases, norms, scales and embeddings are not decayed.
    Scales of several axes are, such as FastViT's (C, 1, 1), as timm's `param_groups_weight_decay` has it.

    A group's `lr_share` is what its learning rate is of the schedule's (`layer_decay`); parameters of a module with a
    `learning_rate` have that constant rate as `own_lr`, and no decay.
    """
    groups: dict[tuple[float, float, float | None, bool], list[nn.Parameter]] = {}
    own = {p: rate for m in model.modules() if (rate := _own_rate(m)) for p in m.parameters()}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    exempt, layers = set(_exempt(model)), _distances(model, optim)
    for name, parameter in named:
        free = parameter in own or parameter in exempt or parameter.ndim < 2 or any(part in name for part in _NO_DECAY)
        share = optim.layer_decay ** layers.get(name, 0)
        # One kernel goes through a list of parameters: all of them spread over ranks, or none.
        group = (0.0 if free else optim.weight_decay, share, own.get(parameter), spread(parameter))
        groups.setdefault(group, []).append(parameter)
    settings: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr_share": share, "own_lr": rate}
        for (decay, share, rate, _), parameters in groups.items()
    ]
    kernels = _kernels(optim, on_gpu=any(parameter.is_cuda for _, parameter in named))
    if optim.kind == "sgd":
        return torch.optim.SGD(settings, lr=optim.lr, momentum=optim.momentum, **kernels)
    return torch.optim.AdamW(settings, lr=optim.lr, betas=optim.betas, eps=optim.eps, **kernels)


def _kernels(optim: Optim, on_gpu: bool) -> dict[str, bool]:
    """Fused, or on a GPU at least a kernel for all parameters: one by one, launching takes longer than computing.

    PyTorch has no fused SGD for parameters that are spread over ranks, and on a CPU spread ones go one by one.
    """
    fused = optim.fused and (not optim.shard or (on_gpu and optim.kind == "adamw"))
    return {"fused": fused, "foreach": on_gpu and not fused}


def _own_rate(module: nn.Module) -> float | None:
    rate: Any = getattr(module, "learning_rate", None)
    return None if rate is None else float(rate)


def _exempt(model: nn.Module) -> Iterator[Tensor]:
    """Parameters that their network wants no weight decay for."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield module.weight
        asked: Any = getattr(module, "no_weight_decay", None)
        if callable(asked) and (patterns := tuple(asked())):
            for name, parameter in module.named_parameters():
                if any(fnmatch(name, pattern) for pattern in patterns):
                    yield parameter


def _distances(model: nn.Module, optim: Optim) -> dict[str, int]:
    """How many layers lie between a parameter of the student and its output."""
    student = getattr(model, "student", None)
    if student is None or optim.layer_decay == 1:
        return {}
    return {f"student.{name}": distance for name, distance in distances(student).items()}


def learning_rate(step: int, steps_per_epoch: int, optim: Optim) -> float:
    """Linear from `warmup_lr` to `lr` over the warm-up, then the schedule; a cosine ends at `min_lr`."""
    last = total_steps(steps_per_epoch, optim)
    if optim.schedule == "onecycle" and optim.every == "epoch":  # whose highest and last rates are of whole epochs
        return optim.lr * _one_cycle(step // steps_per_epoch, math.ceil(last / steps_per_epoch))
    if optim.schedule == "onecycle":
        return optim.lr * _one_cycle(step, last)
    if optim.every == "epoch":
        step = step // steps_per_epoch * steps_per_epoch
    warmup = round(optim.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return optim.warmup_lr + (optim.lr - optim.warmup_lr) * step / warmup
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "multistep":
        return optim.lr * optim.gamma ** sum(step >= milestone * steps_per_epoch for milestone in optim.milestones)
    return _cosine(optim.lr, optim.min_lr, (step - warmup) / max(last - warmup, 1))


def not_the_highest(optim: Optim) -> Iterator[str]:
    """In words, where `optim.lr` is not what the learning rate rises to, or not what it falls from."""
    if optim.schedule == "onecycle":
        return
    if optim.warmup_epochs > optim.epochs:
        yield (
            f"the learning rate rises for {count(optim.warmup_epochs, 'epoch')} of {optim.epochs:g} and never gets to "
            f"{optim.lr:g}; lower optim.warmup_epochs"
        )
    if optim.warmup_epochs and optim.warmup_lr > optim.lr:
        yield f"the warm-up falls, from optim.warmup_lr = {optim.warmup_lr:g} to {optim.lr:g}; lower optim.warmup_lr"
    if optim.schedule == "cosine" and optim.min_lr > optim.lr:
        yield (
            f"the learning rate rises to the end, from {optim.lr:g} to optim.min_lr = {optim.min_lr:g}; lower "
            "optim.min_lr"
        )


def _one_cycle(step: int, last: int) -> float:
    peak = max(_RISE * last - 1, 1)
    if step < peak:
        return _cosine(_FIRST, 1.0, step / peak)
    return _cosine(1.0, _LAST, (step - peak) / max(last - 1 - peak, 1))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def total_steps(steps_per_epoch: int, optim: Optim) -> int:
    """How many optimiser steps the run makes; at least one."""
    return max(round(optim.epochs * steps_per_epoch), 1)
