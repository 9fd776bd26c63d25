"""CUDA's own choice of number formats, which C++ makes only where a GPU is.

The lists are those of aten/src/ATen/autocast_mode.h as far as the project reaches them, by the names that operations
have when they come to a device.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

_LOWER = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "addmv", "mv", "convolution", "convolution_backward"}
_FLOAT32 = {
    *("_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "logsumexp", "softplus"),
    *("native_layer_norm", "native_layer_norm_backward", "native_group_norm", "linalg_vector_norm", "norm", "renorm"),
    *("mse_loss", "smooth_l1_loss", "nll_loss_forward", "binary_cross_entropy_with_logits", "cosine_similarity"),
    *("pow", "cumsum", "cumprod", "prod", "exp", "expm1", "log", "log2", "log10", "log1p", "rsqrt", "reciprocal"),
    *("erfinv", "acos", "asin", "cosh", "sinh", "tan", "dist"),
}
_ENTER, _EXIT = torch.autocast.__enter__, torch.autocast.__exit__
_here = threading.local()


def wanted() -> torch.dtype | None:
    """The format of the innermost autocast of CUDA; None where there is none, or a disabled one."""
    stack = getattr(_here, "stack", [])
    return stack[-1] if stack else None


def cast(name: str, leaves: list[Any]) -> list[Any]:
    """The arguments of an operation in the format that CUDA would give them."""
    formats = {x.dtype for x in leaves if _counts(x)}
    low, back = wanted(), torch._C._current_graph_task_id() != -1
    if not formats or (low is None and not back):
        return leaves
    if name in _LOWER and (low is not None or len(formats) > 1):
        order = (torch.float16, torch.bfloat16, torch.float32)
        to = low or next(one for one in order if one in formats)
    elif name in _FLOAT32 and (low is not None or len(formats) > 1):
        to = torch.float32
    else:
        return leaves
    return [x.to(to) if _counts(x) else x for x in leaves]


def _counts(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64


@contextmanager
def kept() -> Iterator[None]:
    """Remember, thread by thread, which autocast of CUDA is on."""

    def enter(self: Any) -> Any:
        if self.device == "cuda":
            _here.stack = [*getattr(_here, "stack", []), self.fast_dtype if self._enabled else None]
        return _ENTER(self)

    def leave(self: Any, *error: Any) -> Any:
        if self.device == "cuda":
            _here.stack = _here.stack[:-1]
        return _EXIT(self, *error)

    with mock.patch.object(torch.autocast, "__enter__", enter), mock.patch.object(torch.autocast, "__exit__", leave):
        yield
