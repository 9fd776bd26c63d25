"""Memory of a process that trains from 40 M rows, against one that trains from 1 M."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import torch

from distillkit.recipe import Data
from distillkit.training.batches import Batches
from tests.bench.measure import Row
from tests.bench.store_scale import private
from tests.bench.stores import sparse_store

_GOAL = 1.05


def run(folder: Path, quick: bool) -> list[Row]:
    """Private memory after some hundred batches of 1024 rows, their keys and features; pixels are the student's."""
    rows, shard = (500_000, 16_384) if quick else (40_000_000, 65_536)
    small = sparse_store(folder / "small", rows // 40, shard)
    large = sparse_store(folder / "large", rows, shard)
    count = 10 if quick else 200
    pairs = [
        (_in_a_new_process(large.path, count), _in_a_new_process(small.path, count)) for _ in range(1 if quick else 3)
    ]
    ratios = sorted(one / other for one, other in pairs)
    ratio, (ours, theirs) = ratios[len(ratios) // 2], pairs[0]
    return [
        Row(
            name=f"memory of a training process: {rows:,} rows / {rows // 40:,} rows",
            goal=f"<= {_GOAL}",
            met=ratio <= _GOAL,
            ratio=round(ratio, 4),
            low=round(ratios[0], 4),
            high=round(ratios[-1], 4),
            ours=round(ours, 1),
            theirs=round(theirs, 1),
            unit="MB",
            rounds=len(pairs),
        )
    ]


def _in_a_new_process(path: Path, count: int) -> float:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_read, args=(path, count, there))
    child.start()
    there.close()  # so that a child that dies is an EOFError here
    told = here.recv()
    child.join()
    return told


def _read(path: Path, count: int, out: Connection) -> None:
    torch.set_num_threads(1)
    batches = Batches(Data(images=str(path), batch_size=1024), 0, SimpleNamespace(image_size=None))
    for batch in batches.stream(0, count):
        assert batch.teacher.image is not None
    out.send(private())
