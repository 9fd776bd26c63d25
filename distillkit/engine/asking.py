"""A teacher that is asked batch by batch. Where its memory ends, once, batches go on in halves."""

from __future__ import annotations

import inspect
import time
from typing import Any

import torch
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import TeacherError
from distillkit.system.device import Coming, give_back, out_of_memory
from distillkit.system.spans import span
from distillkit.teachers._said import said_of


class Answer:
    """What a teacher says of a batch, as it comes. `seconds`: what the teacher took for it, known once it is `here`."""

    def __init__(self, said: dict[str, Tensor] | Coming, clock: _Clock):
        self._said, self._clock, self.seconds = said, clock, 0.0

    def here(self) -> dict[str, Tensor]:
        """Features by name, on the CPU. Whoever asks waits for a GPU that has not come so far."""
        said = _here(self._said)
        self.seconds = self._clock.seconds()
        return said


class Asked:
    """`network` as a function from inputs to its features by name. A GPU is not waited for: its answers come later."""

    def __init__(self, alias: str, network: Any, say: Say):
        self.alias, self.network, self.say = alias, network, say
        self.device: torch.device = getattr(network, "device", torch.device("cpu"))
        # A teacher of somebody's own may know nothing of `stay`, and says everything on the CPU.
        knows = "stay" in inspect.signature(network.forward).parameters
        self._stays: dict[str, bool] = {"stay": True} if knows and self.device.type == "cuda" else {}
        # One of somebody's own may answer from memory that its next answer overwrites, while this one is being kept.
        self._ours = type(network).__module__.startswith("distillkit.")
        self.halved = False

    def __call__(self, inputs: dict[str, Tensor], fields: list[str]) -> Answer:
        """TeacherError when half a batch is too much as well."""
        clock = _Clock(self.device if self._stays else torch.device("cpu"))
        said = self._asked(inputs, fields)
        clock.stop()
        return Answer(said, clock)

    def _asked(self, inputs: dict[str, Tensor], fields: list[str]) -> dict[str, Tensor] | Coming:
        size = len(next(iter(inputs.values())))
        if not self.halved:
            try:
                return self._forward(inputs, fields)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size < 2:
                    raise
            self.halved = True
            self.say(
                f"teacher {self.alias}: out of memory with {size} at once; from here on half as many, which may round "
                "the last bit of a value differently than with more memory; a lower batch_size has all rows alike"
            )
            give_back()
        try:
            parts = [_here(self._forward(half, fields)) for half in _halves(inputs, size)]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TeacherError(
                f"teacher {self.alias}: out of memory with {-(-size // 2)} at once too; what is committed is kept, set "
                f"batch_size = {max(1, size // 4)} or less and run again (another batch_size is another store)"
            ) from error
        return {name: torch.cat([part[name] for part in parts]) for name in fields}

    def _forward(self, inputs: dict[str, Tensor], fields: list[str]) -> dict[str, Tensor] | Coming:
        size = len(next(iter(inputs.values())))
        if self._stays:
            with span("copy", size, self.device):
                inputs = {name: value.to(self.device, non_blocking=True) for name, value in inputs.items()}
        with span("forward", size, self.device):
            features = self.network.forward(**inputs, fields=fields, **self._stays)
        said = {name: said_of(self.network, features, name, size, f"teacher {self.alias}") for name in fields}
        if self._stays:
            return Coming(said)
        return said if self._ours else {name: value.clone() for name, value in said.items()}


def _here(said: dict[str, Tensor] | Coming) -> dict[str, Tensor]:
    return said.here() if isinstance(said, Coming) else said


class _Clock:
    """Runs from when it is made until `stop`: of a GPU it is the GPU's own, read once that is through."""

    def __init__(self, device: torch.device):
        self._stream: Any = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._begun = self._now()

    def stop(self) -> None:
        self._ended = self._now()

    def seconds(self) -> float:
        if self._stream is None:
            return float(self._ended - self._begun)
        return float(self._begun.elapsed_time(self._ended)) / 1000

    def _now(self) -> Any:
        if self._stream is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event


def _halves(inputs: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    middle = -(-size // 2)
    parts = ({name: value[begin:end] for name, value in inputs.items()} for begin, end in ((0, middle), (middle, size)))
    return [part for part in parts if len(next(iter(part.values())))]
