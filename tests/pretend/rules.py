"""What CUDA allows, and at what price: which operations may see tensors of two devices, which ones wait."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.pretend.ledger import Ledger, where
from tests.pretend.tensor import Pretend

# Operations whose result, or its size, the host must know.
_WAITS = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
    *("equal", "bincount", "is_nonzero"),
}
_CROSSES = {
    "copy_",
    "_to_copy",
    "_has_compatible_shallow_copy_type",
    "set_",
    "is_same_size",
    "is_pinned",
    "_pin_memory",
}
_INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_TAKES_NUMBERS = {"where", "lerp", "masked_fill", "masked_fill_", "clamp", "addcmul", "fill_", "fill"}
_TWO = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


def check(
    name: str, func: Any, args: Any, kwargs: Any, ours: list[Pretend], plain: list[Tensor], ledger: Ledger
) -> None:
    """RuntimeError for what CUDA refuses; waits are noted."""
    if name in _INDEXES:
        _check_indices(name, args, ours, ledger)
    elif ours and plain and name not in _CROSSES:
        numbers = torch.Tag.pointwise in func.tags or name in _TAKES_NUMBERS
        if any(one.ndim or not numbers for one in plain):
            raise RuntimeError(f"{_TWO} ({func} at {where()}, {[tuple(one.shape) for one in plain]})")
    if name == "copy_" and ours:
        _check_copy(args, ledger)
    unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
    if ours and (name in _WAITS or unsized):
        ledger.wait(name)
    if name.startswith("_fused_"):
        _refuse_other_layouts(args)


def _check_indices(name: str, args: Any, ours: list[Pretend], ledger: Ledger) -> None:
    if ours and not isinstance(args[0], Pretend):
        raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({where()})")
    for index in args[1] if ours else ():
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            ledger.wait("an index of booleans")
        elif isinstance(index, Tensor) and index.ndim and not isinstance(index, Pretend):
            ledger.wait("an index of the CPU")
    values = args[2] if len(args) > 2 and name != "index" else None
    if ours and isinstance(values, Tensor) and values.ndim and not isinstance(values, Pretend):
        raise RuntimeError(f"{_TWO} (an index's values, {where()})")


def _check_copy(args: Any, ledger: Ledger) -> None:
    into, source, *non_blocking = args
    if isinstance(source, Pretend) and not isinstance(into, Pretend):
        if not (non_blocking and non_blocking[0] and ledger.is_pinned(into)):
            ledger.wait("a copy to the CPU")
    elif isinstance(into, Pretend) and not isinstance(source, Pretend):
        ledger.copied(source, bool(non_blocking and non_blocking[0]))


def _refuse_other_layouts(args: Any) -> None:
    """CUDA's fused optimisers go through parameters, gradients and moments as they lie; the CPU's do not ask."""
    lists = [one for one in args if isinstance(one, list | tuple) and one]
    for like in zip(*[one for one in lists if one[0].ndim or one is lists[0]][:4], strict=False):
        laid = {(one.shape, one.dtype, tuple(s for s, n in zip(one.stride(), one.shape, strict=True) if n != 1))
                for one in like}  # fmt: skip
        if len(laid) > 1:
            raise RuntimeError(
                f"params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout {laid}"
            )
