"""Steps that give the same bits each time, on a GPU too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distillkit.errors import TrainError
from distillkit.recipe import Optim

_NAME, _REPEAT = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # what cuBLAS may be told for it

_LACKING = " does not have a deterministic implementation"  # PyTorch's words behind the name of an operation


@contextmanager
def deterministic(optim: Optim, device: torch.device) -> Iterator[None]:
    """Only algorithms that repeat themselves, where the recipe asks for them; a caller's own setting comes back.

    TrainError where cuBLAS was told otherwise, or too late, which PyTorch says at the first step; and where something
    that is computed has no algorithm that repeats itself.
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
    except RuntimeError as error:
        if _LACKING in str(error):
            raise TrainError(
                f"optim.deterministic: {str(error).partition(_LACKING)[0]} repeats itself on no {device.type}; leave "
                "optim.deterministic out, or take a student and losses without it"
            ) from error
        if _NAME not in str(error):
            raise
        raise TrainError(
            f"optim.deterministic: this process had used a GPU before {_NAME} was set, which cuBLAS reads once; import "
            f"distillkit first, or set {_NAME}={_REPEAT[0]} before the process begins"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
