"""The processes of one run, as torchrun starts them: each computes a share of every batch, the first one writes.

    torchrun --nproc-per-node 8 -m distillkit train-student RECIPE

or Ray Train (ray.py). Data order belongs to the global step, so another number of processes continues the same curve. A
process that dies takes the job down: torchrun stops the others, and with --max-restarts begins again from the last
checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from distillkit.errors import TrainError
from distillkit.system.environment import whole_number
from distillkit.system.stopping import asked, code

# How long a rank waits for the others. The longest of their absences is the first making of a pixel cache.
_PATIENCE = timedelta(minutes=30)


class RankLost(TrainError):
    """Another process of the run is gone; what is wrong, if anything is, that one said."""


@dataclass(frozen=True)
class Ranks:
    """Which of `world` processes this is."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.world > 1

    def span(self, size: int) -> slice:
        """This rank's part of `size` rows of a batch; the parts differ by one row at most."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)

    def wait(self) -> None:
        """Until every rank is here."""
        if self.several:
            dist.barrier()

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """What is inside runs on the first rank, then on the others: they find what it made."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def told(self, value: Any) -> Any:
        """What the first rank says, on every rank: a small value of plain Python."""
        if not self.several:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks of a tensor that every rank has."""
        if self.several:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.world
        return value


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks of this job: those that torchrun or the caller's own process group made, or this process alone.

    RankLost when another of them dies meanwhile.
    """
    world = whole_number("WORLD_SIZE", 1)
    ours = world > 1 and not dist.is_initialized()
    if ours:
        _join("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Ranks()
    except RuntimeError as error:
        if not (dist.is_initialized() and _of_another_rank(error)):
            raise
        if (signal := asked()) is not None:  # the first rank left on the signal that all of them got
            raise SystemExit(code(signal)) from None
        raise RankLost(
            f"rank {dist.get_rank()}: another process of this run is gone ({str(error).splitlines()[0]:.120}); what it "
            "said is above; the same command continues from the last checkpoint"
        ) from error
    finally:
        if ours:
            dist.destroy_process_group()


def _join(backend: str) -> None:
    try:
        store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    except (ValueError, dist.DistError) as error:  # a variable that is missing or no number; nobody at MASTER_ADDR
        raise TrainError(
            f"WORLD_SIZE asks for several processes, and they cannot meet ({str(error).splitlines()[0]:.200}); start "
            "them with torchrun, or unset WORLD_SIZE"
        ) from error
    if world == whole_number("LOCAL_WORLD_SIZE", 0):
        # On a single machine torchrun keeps its store when it begins again, with the addresses of the dead.
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(again, store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)


def _of_another_rank(error: RuntimeError) -> bool:
    """gloo answers with a plain RuntimeError that names its own source file."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
