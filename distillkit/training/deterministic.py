"""Steps that give the same bits each time, on a GPU too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distillkit.errors import TrainError
from distillkit.recipe import Optim

_NAME, _REPEAT = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # what cuBLAS may be told for it


@contextmanager
def deterministic(optim: Optim, device: torch.device) -> Iterator[None]:
    """Only algorithms that repeat themselves, where the recipe asks for them; a caller's own setting comes back.

    TrainError where cuBLAS was told otherwise, as PyTorch would say at the first step.
    """
    if not optim.deterministic:
        yield
        return
    if device.type == "cuda" and os.environ.get(_NAME) not in _REPEAT:
        raise TrainError(
            f"optim.deterministic: cuBLAS repeats itself with {_NAME}={_REPEAT[0]} alone, here it is "
            f"{os.environ.get(_NAME)!r}; set it so before the process begins, or unset it"
        )
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
