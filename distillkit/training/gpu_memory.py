"""Memory that does not suffice, mostly a GPU's, told in a line that names what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distillkit.errors import TrainError
from distillkit.recipe import Optim
from distillkit.system.device import out_of_memory


@contextmanager
def fitting(what: str, optim: Optim) -> Iterator[None]:
    """TrainError that names the knobs, where memory does not suffice for what is inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        knobs = {
            f"optim.accumulate = {2 * optim.accumulate} (same loss, smaller parts)": True,
            "optim.recompute = true (activations are made twice)": not optim.recompute,
            "optim.shard = true on several GPUs": not optim.shard,
        }
        raise TrainError(
            f"{what} not fit into memory; set {', '.join(knob for knob, helps in knobs.items() if helps)}, "
            "or lower data.batch_size"
        ) from error
