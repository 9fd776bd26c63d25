"""Which device a network runs on, which errors are those of its memory, and how numbers travel there without a wait."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from distillkit.errors import DistillkitError
from distillkit.system.environment import whole_number
from distillkit.system.fitting import NO_PRIMITIVE
from distillkit.system.wording import one_line

# How torch, CUDA, cuBLAS, cuDNN and NCCL say that memory has ended; only torch has a class for it.
_FULL = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# cuDNN says so, too, where no algorithm has room for its scratch memory; elsewhere it means what it says.
_NO_ALGORITHM = ("CUDNN_STATUS_NOT_SUPPORTED", "unable to find an engine", "CUDNN_STATUS_INTERNAL_ERROR")
_LITTLE = 1 << 30  # bytes that are left where that is for want of memory


def device_of(name: str, knob: str = "device", error: type[DistillkitError] = DistillkitError) -> torch.device:
    """`auto` is the GPU where there is one. `error` for a device that cannot be used, naming the recipe's `knob`.

    Of several processes on a machine each has the GPU of its number, unless one is named.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise error(f"{knob} = {name!r}: PyTorch finds no GPU here; see nvidia-smi, or set {knob} to auto")
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if device.type == "cuda":
            device = torch.device("cuda", _own_number() if device.index is None else device.index)
            torch.cuda.set_device(device)
        else:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as reason:
        told = shorten(one_line(reason), 100, placeholder="...")
        raise error(f"{knob} = {name!r}: cannot be used here ({told}); set {knob} to auto, cpu or cuda") from reason
    return device


def _own_number() -> int:
    """The GPU of this process, of those that it sees: a launcher may show each process its own alone."""
    return whole_number("LOCAL_RANK", 0) % max(torch.cuda.device_count(), 1)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has ended, the GPU's or this machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = str(error)
    return isinstance(error, RuntimeError) and (
        any(one in told or one in told.lower() for one in _FULL)
        or (any(one in told for one in _NO_ALGORITHM) and _nearly_full())
        or (NO_PRIMITIVE in told and _limited())
    )


def _nearly_full() -> bool:
    return torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < _LITTLE


def _limited() -> bool:
    """Whether this process may have only so much address space (`ulimit -v`, as some batch systems set it)."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def give_back() -> None:
    """Let other libraries, and blocks of other sizes, have what PyTorch keeps of freed GPU memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def pinned(value: Tensor, device: torch.device) -> Tensor:
    """The same, in memory that a copy to this device leaves without anybody waiting; as it is, for the CPU."""
    return value.pin_memory() if device.type == "cuda" and value.device.type == "cpu" else value


class Coming:
    """Copies of tensors, contiguous, on their way from their devices to this machine's memory.

    Nobody waits before `here` is called, by then mostly in vain: whoever asks a GPU for more meanwhile keeps it busy.
    """

    def __init__(self, values: Mapping[str, Tensor]):
        self._copies, self._arrived = dict[str, Tensor](), []
        for name, value in values.items():
            there = value.device.type == "cuda"
            into = torch.empty(value.shape, dtype=value.dtype, pin_memory=there)
            self._copies[name] = into.copy_(value, non_blocking=there)
        for device in {value.device for value in values.values() if value.device.type == "cuda"}:
            self._arrived.append(torch.cuda.current_stream(device).record_event())

    def here(self) -> dict[str, Tensor]:
        """The copies, once all of them have arrived."""
        for event in self._arrived:
            event.synchronize()
        return self._copies


def fetched(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of these tensors, contiguous, in this machine's memory. Of a GPU's, all are waited for together."""
    return Coming(values).here()


def brought(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a device said, in this machine's memory: all of it with one wait; what is here already stays as it is."""
    return fetched(values) if any(value.device.type == "cuda" for value in values.values()) else dict(values)


def sent(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of a few numbers; on a GPU, what is under way there goes on meanwhile."""
    return pinned(torch.tensor(values, dtype=dtype), device).to(device, non_blocking=True)
