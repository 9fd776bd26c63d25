"""What a network said as the numbers that a field keeps, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.steps import Steps

_TORCH = {
    "float16": torch.float16,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int32": torch.int32,
    "uint8": torch.uint8,
}


class Encoded(NamedTuple):
    """Rows as they lie on disk, which of them the dtype can hold: bool [rows], and how many values were clipped."""

    rows: np.ndarray
    usable: np.ndarray
    clipped: int = 0


def encode(features: Tensor, field: Field, steps: Steps | None = None) -> Encoded:
    """[rows, *shape] of any float dtype as `field` keeps it. A row with a value that is not finite is unusable.

    `steps`: what the numbers of an int8 field mean.
    """
    if steps is not None:
        kept, clipped = steps.encode(features)
        return Encoded(kept.numpy(), _finite(features), clipped)
    kept = features.to(_TORCH[field.dtype])
    return Encoded(stored(kept, field), _finite(kept))


def _finite(rows: Tensor) -> np.ndarray:
    return torch.isfinite(rows).reshape(len(rows), -1).all(dim=1).numpy()


def stored(kept: Tensor, field: Field) -> np.ndarray:
    """Rows that are of the field's dtype already, such as `FeatureStore.read` gives, as they lie on disk."""
    bits = kept.view(torch.int16) if field.dtype == "bfloat16" else kept
    return bits.contiguous().numpy().view(DTYPES[field.dtype])


def decode(table: np.ndarray, field: Field) -> Tensor:
    """Numbers as they lie on disk as a tensor of the field's dtype, on the same memory."""
    if field.dtype == "bfloat16":
        return torch.from_numpy(table.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(table)
