"""Two processes that read one store at a time against one: maps share the page cache, so they should not wait."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare
from tests.bench.stores import BATCH, WIDTH, make_store, random_batches


def run(folder: Path, quick: bool) -> list[Row]:
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    store, count = make_store(folder / "store", rows, shard), 20 if quick else 400
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    children = [context.Process(target=_read, args=(store, count, there), daemon=True) for _, there in pipes]
    for child in children:
        child.start()
    ends = [here for here, _ in pipes]

    def both() -> None:
        _go(ends)

    def one() -> None:
        _go(ends[:1])

    amount = BATCH * count
    row = compare(
        f"random gather of {BATCH} x {WIDTH} fp16: 2 processes / 1",
        both,
        one,
        goal=1.8,
        amount=2 * amount,
        their_amount=amount,
        unit="rows/s",
        rounds=2 if quick else 15,
    )
    for end, child in zip(ends, children, strict=True):
        end.send(False)
        child.join()
    return [row]


def _go(ends: list[Connection]) -> None:
    for end in ends:
        end.send(True)
    for end in ends:
        end.recv()


def _read(store: FeatureStore, count: int, end: Connection) -> None:
    torch.set_num_threads(1)
    batches, out = random_batches(len(store), count), torch.empty(BATCH, WIDTH, dtype=torch.float16)
    while end.recv():
        for batch in batches:
            store.read("image", batch, out=out)
        end.send(True)
