"""Optimiser groups and the learning rate of a step."""

from __future__ import annotations

import math

import torch
from torch import nn

from distillkit.recipe import Optim

# Names that DIME-FM, CLIP-KD and TinyCLIP all exempt from weight decay, beside every parameter with one axis or none.
_NO_DECAY = (
    "positional_embedding",
    "token_embedding",
    "relative_position_bias_table",
    "absolute_pos_embed",
    "pos_embed",
)


def make_optimizer(model: nn.Module, optim: Optim) -> torch.optim.AdamW:
    """AdamW over all parameters of `model`; biases, norms, scales and embeddings are not decayed."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (free if parameter.ndim < 2 or any(part in name for part in _NO_DECAY) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)


def learning_rate(step: int, steps_per_epoch: int, optim: Optim) -> float:
    """Linear from `warmup_lr` to `lr` over the warm-up, then a cosine per step down to `min_lr` at the last step."""
    warmup = round(optim.warmup_epochs * steps_per_epoch)
    last = total_steps(steps_per_epoch, optim)
    if step < warmup:
        return optim.warmup_lr + (optim.lr - optim.warmup_lr) * step / warmup
    progress = (step - warmup) / max(last - warmup, 1)
    return optim.min_lr + (optim.lr - optim.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def total_steps(steps_per_epoch: int, optim: Optim) -> int:
    """How many optimiser steps the run makes; at least one."""
    return max(round(optim.epochs * steps_per_epoch), 1)
