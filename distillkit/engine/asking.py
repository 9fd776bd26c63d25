"""A teacher that is asked batch by batch. Where its memory ends, once, batches go on in halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.system.device import give_back, out_of_memory


class Asked:
    """`network` as a function from inputs to its features by name, float32 on the CPU."""

    def __init__(self, alias: str, network: Any, say: Callable[[str], None]):
        self.alias, self.network, self.say = alias, network, say
        self.halved = False

    def __call__(self, inputs: dict[str, Tensor], fields: list[str]) -> dict[str, Tensor]:
        """TeacherError when half a batch is too much as well."""
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
            parts = [self._forward(half, fields) for half in _halves(inputs, size)]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TeacherError(
                f"teacher {self.alias}: out of memory with {-(-size // 2)} at once too; what is committed is kept, set "
                f"batch_size = {max(1, size // 4)} or less and run again (another batch_size is another store)"
            ) from error
        return {name: torch.cat([part[name] for part in parts]) for name in fields}

    def _forward(self, inputs: dict[str, Tensor], fields: list[str]) -> dict[str, Tensor]:
        features = self.network.forward(**inputs, fields=fields)
        return {name: getattr(features, name) for name in fields}


def _halves(inputs: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    middle = -(-size // 2)
    parts = ({name: value[begin:end] for name, value in inputs.items()} for begin, end in ((0, middle), (middle, size)))
    return [part for part in parts if len(next(iter(part.values())))]
