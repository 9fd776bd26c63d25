"""The processes of one run, as torchrun starts them: each computes a share of every batch, the first one writes.

    torchrun --nproc-per-node 8 -m distillkit train-student RECIPE

or Ray Train (ray.py). Data order belongs to the global step, so another number of processes continues the same curve. A
process that dies takes the job down: torchrun stops the others, and with --max-restarts begins again from the last
checkpoint.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from distillkit.errors import TrainError
from distillkit.system.environment import whole_number
from distillkit.system.stopping import asked, code
from distillkit.system.wording import one_line

# How long a rank waits for the others within a step. NCCL takes whoever is longer away for dead, and ends the process:
# for what may take longer, such as a pixel cache, there is `one_first`.
_PATIENCE = timedelta(minutes=30)
_TURNS = count()  # of `one_first` in this process, which all ranks come to in the same order
_LOOK = 0.2  # seconds between two looks at whether the first rank is through


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
        """What is inside runs on the first rank, for as long as it takes, then on the others: they find what it made.

        They wait outside of any collective. RankLost, when whoever holds the store that they look into is gone.
        """
        key = f"distillkit/{next(_TURNS)}"
        if not self.first:
            while not _store().check([key]):
                time.sleep(_LOOK)
        yield
        if self.first and self.several:
            _store().set(key, "done")

    def told(self, value: Any) -> Any:
        """What the first rank says, on every rank: a small value of plain Python."""
        if not self.several:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def alike(self, values: Iterable[Tensor]) -> None:
        """Make these tensors on every rank what they are on the first, such as the statistics of batch norm."""
        if self.several:
            for value in values:
                dist.broadcast(value, 0)

    def gathered(self, mine: Tensor, size: int, device: torch.device) -> Tensor:
        """All rows, on every rank, in this machine's memory: `mine` are this rank's `span` of so many."""
        if not self.several:
            return mine
        counts = [len(range(size)[Ranks(rank, self.world).span(size)]) for rank in range(self.world)]
        padded = mine.new_zeros(max(counts), *mine.shape[1:], device=device)
        padded[: len(mine)] = mine.to(device)
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count].cpu() for part, count in zip(parts, counts, strict=True)])

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
        _join(device)
    through = False
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Ranks()
        through = True
    except SystemExit:
        through = asked() is not None  # all ranks were, and leave after the same step
        raise
    except RuntimeError as error:
        if not (dist.is_initialized() and _of_another_rank(error)):
            raise
        if (signal := asked()) is not None:  # the first rank left on the signal that all of them got
            raise SystemExit(code(signal)) from None
        goes_on = getattr(error, "__notes__", None) or ["the same command continues from the last checkpoint"]
        raise RankLost(
            f"rank {dist.get_rank()}: another process of this run is gone ({one_line(error):.120}); what it "
            f"said is above; {goes_on[0]}"
        ) from error
    finally:
        # NCCL leaves with all ranks together. Who fails alone would wait for others that wait for it, and never tell.
        if ours and (through or device.type != "cuda"):
            dist.destroy_process_group()


def _store() -> Any:
    """Where processes of a group leave each other small notes; there is one whoever made the group."""
    return dist.distributed_c10d._get_default_store()


def _join(device: torch.device) -> None:
    gpu = device.type == "cuda"
    try:
        store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    except (ValueError, dist.DistError) as error:  # a variable that is missing or no number; nobody at MASTER_ADDR
        raise TrainError(
            f"WORLD_SIZE asks for several processes, and they cannot meet ({one_line(error):.200}); start "
            "them with torchrun, or unset WORLD_SIZE"
        ) from error
    if world == whole_number("LOCAL_WORLD_SIZE", 0):
        # On a single machine torchrun keeps its store when it begins again, with the addresses of the dead.
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(again, store)  # type: ignore[attr-defined]
    if gpu:
        _refuse_shared_gpus(store, device, rank, world)
    # NCCL would guess the device from the rank, at the first barrier.
    own: dict[str, Any] = {"device_id": device} if gpu else {}
    backend = "nccl" if gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE, **own)


def _refuse_shared_gpus(store: Any, device: torch.device, rank: int, world: int) -> None:
    """TrainError where two processes are on one GPU, which NCCL cannot do: it hangs, or says so at length."""
    store.set(f"gpu/{rank}", f"{socket.gethostname()} {torch.cuda.get_device_properties(device).uuid}")
    gpus = [store.get(f"gpu/{number}").decode() for number in range(world)]
    twin = next((number for number in range(world) if number != rank and gpus[number] == gpus[rank]), None)
    if twin is not None:
        raise TrainError(
            f"ranks {min(rank, twin)} and {max(rank, twin)} are both on {device} of {gpus[rank].split()[0]}; start as "
            "many processes on a machine as it has GPUs (torchrun --nproc-per-node), or set device to cpu"
        )


def _of_another_rank(error: RuntimeError) -> bool:
    """gloo answers with a plain RuntimeError that names its own source file."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
