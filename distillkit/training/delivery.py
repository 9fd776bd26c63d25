"""Batches on their way to a GPU: out of pinned memory, on a stream of their own, while the student is busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from distillkit.system.device import pinned
from distillkit.system.spans import span
from distillkit.types import Batch


class Sent(NamedTuple):
    """A batch on its way; `arrived` is the event after its last copy, None where there is nothing to wait for."""

    batch: Batch
    arrived: Any = None


class Delivery:
    """To a device. The thread that makes batches sends them; the one that steps receives them.

    Neither waits: it is the GPU that begins a step when the copies of its batch are over.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None

    def sent(self, make: Callable[[], Batch]) -> Sent:
        """The batch that `make` makes; what of it a GPU makes is made in this stream, too."""
        if self.stream is None:
            return Sent(make().to(self.device))
        with torch.cuda.stream(self.stream):
            batch = make()
            with span("copy", len(batch.keys), self.device):
                there = batch.map(lambda value: pinned(value, self.device)).to(self.device)
            return Sent(there, self.stream.record_event())

    def received(self, sent: Sent) -> Batch:
        if sent.arrived is None:
            return sent.batch
        mine = torch.cuda.current_stream(self.device)
        mine.wait_event(sent.arrived)

        def kept(value: Tensor) -> Tensor:
            value.record_stream(mine)  # its memory is nobody else's until this stream is through with it
            return value

        return sent.batch.map(kept)
