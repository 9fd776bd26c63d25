"""Random rows of a store through the public API (row numbers to tensor) against np.take from an array in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare
from tests.bench.stores import BATCH, WIDTH, in_memory, make_store, random_batches


def run(folder: Path, quick: bool) -> list[Row]:
    """One embedding a row on one thread and on two; and all four views of a row at once."""
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    name = f"random gather of {BATCH} x {WIDTH} fp16"
    one_view = make_store(folder / "one-view", rows, shard)
    four_views = make_store(folder / "four-views", rows // 4, shard // 4, (4, WIDTH))
    return [
        *(
            _row(f"{name}, {_threads(threads)}", one_view, threads, goal, quick)
            for threads, goal in ((1, 0.9), (2, 1.3))
        ),
        _row(f"{name}, all four views of a row, 1 thread", four_views, 1, 0.85, quick),
    ]


def _row(name: str, store: FeatureStore, threads: int, goal: float, quick: bool) -> Row:
    table = in_memory(store)
    batches = random_batches(len(store), 20 if quick else 200)
    buffer = np.empty((BATCH, *table.shape[1:]), np.float16)
    out = torch.empty(buffer.shape, dtype=torch.float16)

    def ours() -> None:
        for batch in batches:
            store.read("image", batch, out=out)

    def theirs() -> None:
        for batch in batches:
            np.take(table, batch, axis=0, out=buffer, mode="clip")

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    amount = BATCH * len(batches)
    try:
        return compare(
            f"{name} / np.take in memory",
            ours,
            theirs,
            goal=goal,
            amount=amount,
            unit="rows/s",
            rounds=3 if quick else 31,
        )
    finally:
        torch.set_num_threads(before)


def _threads(count: int) -> str:
    return f"{count} thread{'s'[: count - 1]}"
