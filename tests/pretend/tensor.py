"""A tensor that says that it is on cuda:0, with its numbers in `held`, a tensor of the CPU."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class Pretend(torch.Tensor):
    """To C++ it is a tensor of "meta" with the keys of CUDA: so autograd runs in the thread that asks, and autocast is
    that of CUDA; to Python it is CUDA's.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretend:
        with no_dispatch():
            shell = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
            made = torch.Tensor._make_subclass(cls, shell, False, device_for_backend_keys=CUDA)
        made.held = held
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    def __repr__(self, **_: Any) -> str:
        return f"Pretend({self.held}, device='cuda:0')"

    def get_device(self) -> int:
        return 0

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def numpy(self, **_: Any) -> NoReturn:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self.numpy()

    def tolist(self) -> Any:
        """C++ would read the numbers without asking us."""
        return self.cpu().tolist()

    def record_stream(self, stream: Any) -> None:
        """Nothing is reused before Python lets go of it."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from tests.pretend.gpu import current

        return current().do(func, args, kwargs or {})


def of(value: Any) -> Any:
    """The CPU's tensor of one that pretends."""
    return value.held if isinstance(value, Pretend) else value


def pretending(value: Any) -> Any:
    """A tensor of the CPU as one of the GPU."""
    plain = isinstance(value, Tensor) and not isinstance(value, Pretend)
    return Pretend(value.detach() if value.requires_grad else value) if plain else value
