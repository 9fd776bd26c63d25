"""What several targets write: weights, preprocessing, numbers of a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

Weights = dict[str, Tensor]


def write_weights(path: Path, weights: Weights, precision: str = "fp32") -> None:
    """A file of safetensors; `precision`: what its floats are kept in."""
    dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
    kept = {name: (value.to(dtype) if value.is_floating_point() else value) for name, value in weights.items()}
    save_file({name: value.detach().clone().contiguous() for name, value in kept.items()}, path, {"format": "pt"})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
