"""How many images were put right, and how sure that is."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from distillkit.evals._ranks import interval


def accuracies(hit: Bool[Tensor, "n"], label: Int[Tensor, "n"], classes: int) -> dict[str, float]:
    """Top-1 (with its 95 % interval, over whole classes), mean per-class accuracy, and chance."""
    right = hit.double()
    low, high = interval(right.numpy(), label.numpy())
    counts = torch.bincount(label, minlength=classes)
    per_class = torch.bincount(label, weights=right, minlength=classes)[counts > 0] / counts[counts > 0]
    return {
        "images": float(len(label)),
        "classes": float(classes),
        "top-1": float(right.mean()),
        "top-1.low": low,
        "top-1.high": high,
        "top-1.chance": 1 / classes,
        "mean per class": float(per_class.mean()),
        "mean per class.chance": 1 / classes,
    }
