"""What 40 M rows cost beside 1 M: speed, opening, private memory. The rows are holes in files, read as any others.

The more memory is mapped, the longer the processor looks for the place of a row, whoever reads: np.take from maps of
plain files of both sizes shows by how much, and the reader is held to the larger of these.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, at_most, compare, limit
from tests.bench.stores import BATCH, WIDTH, random_batches, sparse_store


def run(folder: Path, quick: bool) -> list[Row]:
    rows, shard = (500_000, 16_384) if quick else (40_000_000, 65_536)
    small = sparse_store(folder / "small", rows // 40, shard)
    large = sparse_store(folder / "large", rows, shard)
    batches = 20 if quick else 200
    gathers = []
    for store in (small, large):
        gathers.append(_gather(store, batches))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    name = f"random gather of {BATCH} x {WIDTH} fp16, 1 thread: {rows:,} rows / {rows // 40:,} rows"
    amount = BATCH * batches
    speed = compare(name, gathers[1], gathers[0], goal=0.8, amount=amount, unit="rows/s", rounds=3 if quick else 31)
    plain = [_plain(folder / f"plain-{count}", count, batches) for count in (rows // 40, rows)]
    timed = {"amount": amount, "unit": "rows/s", "rounds": 3 if quick else 31}
    share = compare(
        f"random gather, 1 thread, of {rows:,} rows / np.take from a map of them",
        gathers[1],
        plain[1],
        goal=0.95,
        **timed,
    )
    most = limit(compare(f"np.take from a map: {rows:,} rows / {rows // 40:,} rows", plain[1], plain[0], **timed))
    torch.set_num_threads(before)
    opened = [_in_a_new_process(large.path, batches) for _ in range(1 if quick else 5)]
    return [
        *(speed, share, most),
        at_most(f"opening {rows:,} rows, to the first row and its key", [one[0] for one in opened], 100, "ms"),
        at_most(f"private memory to open {rows:,} rows and gather", [one[1] for one in opened], 50, "MB"),
    ]


def _gather(store: FeatureStore, count: int):
    batches, out = random_batches(len(store), count), torch.empty(BATCH, WIDTH, dtype=torch.float16)

    def gather() -> None:
        for batch in batches:
            store.read("image", batch, out=out)

    return gather


def _plain(path: Path, rows: int, count: int):
    """The same from one file of holes, by NumPy alone; the system reads no more of it than is asked for, as of ours."""
    with path.open("wb") as file:
        file.truncate(rows * WIDTH * 2)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    table = np.frombuffer(mapped, np.float16).reshape(rows, WIDTH)
    batches, out = random_batches(rows, count), np.empty((BATCH, WIDTH), np.float16)

    def take() -> None:
        for batch in batches:
            np.take(table, batch, axis=0, out=out, mode="clip")

    return take


def _in_a_new_process(path: Path, batches: int) -> tuple[float, float]:
    """Milliseconds to open, and how many MB of private memory a process has more after opening and gathering."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_open, args=(path, batches, there))
    child.start()
    told = here.recv()
    child.join()
    return told


def _open(path: Path, batches: int, out: Connection) -> None:
    torch.set_num_threads(1)
    _gather_once(torch.zeros(BATCH, WIDTH, dtype=torch.float16))
    memory = private()
    started = time.perf_counter()
    store = FeatureStore(path)
    store.read("image", [len(store) // 2])
    store.values("key", torch.tensor([len(store) // 2]))
    taken = 1000 * (time.perf_counter() - started)
    _gather(store, batches)()
    out.send((taken, private() - memory))


def _gather_once(table: torch.Tensor) -> None:
    """What torch allocates at its first gather is not the store's."""
    torch.index_select(table, 0, torch.arange(len(table)))


def private() -> float:
    """Memory that only this process has, in MB: page cache, which all processes share, is not in it."""
    listing = Path(f"/proc/{os.getpid()}/status")
    if not listing.is_file():
        raise RuntimeError("private memory is measured on Linux")
    (line,) = (line for line in listing.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1000
