"""The pretend GPU itself: the modes that see every call, and what `torch.cuda` answers meanwhile."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before any of it is patched
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from tests.pretend import autocast, rules
from tests.pretend.ledger import Ledger
from tests.pretend.tensor import CPU, CUDA, Pretend, of, pretending

_GIB = 1 << 30


def _mm_into(a: Tensor, b: Tensor, out_dtype: torch.dtype) -> Tensor:
    return (a.to(out_dtype) @ b.to(out_dtype)).to(out_dtype)


_NOT_OF_THE_CPU = {torch.ops.aten.mm.dtype: _mm_into}


class _GPU:
    """Does one operation: checks it, does it on the CPU, and gives back what would be on the GPU as such."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def do(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.removeprefix("aten::")
        leaves, spec = tree_flatten((args, kwargs))
        ours = [one for one in leaves if isinstance(one, Pretend)]
        plain = [one for one in leaves if isinstance(one, Tensor) and not isinstance(one, Pretend)]
        asked, pinning = kwargs.get("device"), bool(kwargs.get("pin_memory"))
        if name in ("_pin_memory", "is_pinned"):
            return self._pinned(name, args[0])
        if asked is None and not ours and not pinning:
            return func(*args, **kwargs)
        if not ours and torch.device(asked or "cpu").type == "meta" and (_here.meta or any(x.is_meta for x in plain)):
            return func(*args, **kwargs)
        # C++ takes our device for "meta", where it makes a tensor beside another.
        stays = bool(ours) if asked is None else torch.device(asked).type in ("cuda", "meta")
        if name == "_to_copy":
            self._moved(ours, plain, stays, bool(kwargs.get("non_blocking")))
        rules.check(name, func, args, kwargs, ours, plain, self.ledger)
        generator = kwargs.get("generator")
        if generator is not None and stays and generator.device.type != "cuda":
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{generator.device}' ({func})")
        given = [of(one) for one in leaves]
        args_, kwargs_ = tree_unflatten(autocast.cast(name, given) if ours else given, spec)
        kwargs_.pop("pin_memory", None)
        if asked is not None and stays:
            kwargs_["device"] = CPU
        if (
            name == "copy_"
            and ours
            and not isinstance(args[0], Pretend)
            and any(args[2:])
            and self.ledger.is_pinned(args[0])
        ):
            with _disable_current_modes():
                self.ledger.fetched(args[0], of(args[1]))
            return args[0]
        with _disable_current_modes():
            out = _NOT_OF_THE_CPU.get(func, func)(*args_, **kwargs_)
        if not stays:
            return self.ledger.pin(out) if pinning else _apart(name, out, ours)
        out = _apart(name, out, plain) if name == "_to_copy" else out
        made = tree_map(pretending, out)
        return return_and_correct_aliasing(func, args, kwargs, made) if ours else made

    def _pinned(self, name: str, tensor: Tensor) -> Any:
        if name == "is_pinned":
            return not isinstance(tensor, Pretend) and self.ledger.is_pinned(tensor)
        with no_dispatch():
            return self.ledger.pin(tensor.clone())

    def _moved(self, ours: list[Pretend], plain: list[Tensor], stays: bool, non_blocking: bool) -> None:
        if ours and not stays:
            self.ledger.wait("a copy to the CPU")
        elif plain and stays:
            self.ledger.copied(plain[0], non_blocking)


def _apart(name: str, out: Any, sources: list[Any]) -> Any:
    """A copy from one device to the other shares no memory with what it was copied from."""
    if name == "_to_copy" and any(of(one).data_ptr() == out.data_ptr() for one in sources):
        return out.clone()
    return out


class _Dispatch(TorchDispatchMode):
    """Sees what makes tensors: a factory has no tensor among its arguments that could tell us."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return current().do(func, args, kwargs or {})


class _Named(TorchFunctionMode):
    """ "cuda" is "cuda:0" (for that, C++ asks the driver), and what C++ does beside the dispatcher is done here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.device or "autocast" in getattr(func, "__name__", ""):
            return func(*args, **kwargs)
        args, kwargs = tuple(map(_numbered, args)), {key: _numbered(value) for key, value in kwargs.items()}
        if getattr(torch.device(kwargs.get("device") or CPU), "type", None) == "meta":
            _here.meta = True
            try:
                return func(*args, **kwargs)
            finally:
                _here.meta = False
        if func is torch.Tensor.new_tensor and isinstance(args[0], Pretend):
            return torch.tensor(args[1], **({"dtype": args[0].dtype} | kwargs)).to(CUDA)
        if func in (torch.tensor, torch.as_tensor) and getattr(kwargs.get("device"), "type", None) == "cuda":
            return func(*args, **(kwargs | {"device": CPU})).to(CUDA)
        if func == torch.Tensor.data.__set__ and all(isinstance(one, Pretend) for one in args[:2]):
            func(*args)
            args[0].held = args[1].held
            return None
        if func in (torch.conv1d, torch.conv2d, torch.conv3d) and autocast.wanted():
            # These compare formats before they come to a device.
            args, kwargs = tuple(map(_lowered, args)), {key: _lowered(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _numbered(value: Any) -> Any:
    nameless = isinstance(value, torch.device) and value.type == "cuda" and value.index is None
    return CUDA if nameless or (isinstance(value, str) and value == "cuda") else value


def _lowered(value: Any) -> Any:
    return value.to(autocast.wanted()) if isinstance(value, Pretend) and value.is_floating_point() else value


class _Here(threading.local):
    """`meta`: Python asks for a tensor without numbers, and means it."""

    meta = False


_here = _Here()
_current: list[_GPU] = []


def current() -> _GPU:
    return _current[-1]


class _Stream:
    """Work is done when it is asked for, so a stream has nothing to keep apart."""

    def __init__(self, *_: Any, **__: Any):
        self.device = CUDA

    def wait_stream(self, stream: Any) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def record_event(self, event: Any = None) -> Any:
        return event or _Event()

    def synchronize(self) -> None:
        current().ledger.wait("a stream's synchronize")


class _Event:
    def __init__(self, *_: Any, **__: Any): ...

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: Any) -> float:
        return 1000 * (other.at - self.at)

    def wait(self, stream: Any = None) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        current().ledger.wait("an event's synchronize")


_FACTS = SimpleNamespace(total_memory=80 * _GIB, multi_processor_count=132, major=9, minor=0, name="Pretend")


def _begins(name: str, answer: Any) -> Any:
    """A question that CUDA must have begun for."""

    def asked(*_: Any, **__: Any) -> Any:
        current().ledger.begin(name)
        return answer

    return asked


_BEGINS = {
    "_lazy_init": None,
    "is_bf16_supported": True,
    "set_device": None,
    "current_device": 0,
    "get_device_name": "Pretend",
    "get_device_properties": _FACTS,
    "get_device_capability": (9, 0),
    "mem_get_info": (8 * _GIB, 80 * _GIB),
}
_CUDA = {
    **{name: _begins(name, answer) for name, answer in _BEGINS.items()},
    "is_available": lambda: True,
    "is_initialized": lambda: current().ledger.has_begun,
    "device_count": lambda: 1,
    "max_memory_allocated": lambda *_: 1 << 20,
    "memory_reserved": lambda *_: 0,
    "memory_allocated": lambda *_: 0,
    "synchronize": lambda *_: current().ledger.wait("synchronize"),
    "empty_cache": lambda: None,
    "manual_seed": lambda seed: None,
    "manual_seed_all": lambda seed: None,
    "Stream": _Stream,
    "Event": _Event,
    "stream": lambda stream: nullcontext(),
    "current_stream": lambda *_: _Stream(),
    "amp.common.amp_definitely_not_available": lambda: False,
}
_ELSEWHERE = {
    "torch._has_compatible_shallow_copy_type": lambda a, b: isinstance(a, Pretend) == isinstance(b, Pretend),
    "torch.optim.Optimizer._accelerator_graph_capture_health_check": lambda self: None,
    "torch.amp.grad_scaler.torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
}


def _enter_no_grad(self: Any) -> None:
    """Inference tensors cannot be wrapped; what is inside needs no gradients either way."""
    self.before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)


def _leave_no_grad(self: Any, *_: Any) -> None:
    torch.set_grad_enabled(self.before)


_SUBMIT = ThreadPoolExecutor.submit


def _submit(self: Any, work: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Modes belong to a thread: what is handed to another one enters them there."""

    @functools.wraps(work, updated=())
    def inside(*a: Any, **k: Any) -> Any:
        with _Dispatch(), _Named():
            return work(*a, **k)

    return _SUBMIT(self, inside if _current else work, *args, **kwargs)


@contextmanager
def pretend_gpu() -> Iterator[Ledger]:
    """Inside, torch finds a GPU, with its rules."""
    gpu = _GPU()
    patches = {f"torch.cuda.{name}": value for name, value in _CUDA.items()} | _ELSEWHERE
    with ExitStack() as stack:
        _current.append(gpu)
        stack.callback(_current.pop)
        for place, value in patches.items():
            stack.enter_context(mock.patch(place, value))
        for name, value in (("__enter__", _enter_no_grad), ("__exit__", _leave_no_grad)):
            stack.enter_context(mock.patch.object(torch.inference_mode, name, value))
        stack.enter_context(mock.patch.object(ThreadPoolExecutor, "submit", _submit))
        stack.enter_context(autocast.kept())
        # The fused kernels of attention are a device's own; this is their formula.
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.enter_context(_Dispatch())
        stack.enter_context(_Named())
        yield gpu.ledger
        gpu.ledger.land()
