"""Random rows of a store through the public API (row numbers to tensor) against np.take from an array in memory.

NumPy asks for huge pages for a large array, and a file has small ones: the processor looks for the place of each row
longer. What that alone costs is measured beside it, by np.take from a map of one plain file with the same rows: the
limit of anything that reads rows of a file from the page cache, and what the reader is asked to reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare, limit
from tests.bench.stores import BATCH, WIDTH, in_memory, make_store, random_batches


def run(folder: Path, quick: bool) -> list[Row]:
    """One embedding a row on one thread and on two; and all four views of a row at once."""
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    name = f"random gather of {BATCH} x {WIDTH} fp16"
    one_view = make_store(folder / "one-view", rows, shard)
    four_views = make_store(folder / "four-views", rows // 4, shard // 4, (4, WIDTH))
    return [
        *_rows(name, one_view, folder / "plain", {1: 0.9, 2: 1.3}, quick),
        *_rows(f"{name}, all four views of a row", four_views, folder / "plain-views", {1: 0.85}, quick),
    ]


def _rows(name: str, store: FeatureStore, plain: Path, goals: dict[int, float], quick: bool) -> list[Row]:
    """The reader against memory and against a map, for each number of threads; and the map against memory."""
    memory = in_memory(store)
    memory.tofile(plain)
    mapped = np.memmap(plain, memory.dtype, "r", shape=memory.shape)
    batches = random_batches(len(store), 20 if quick else 200)
    reads, takes = partial(_read, store, batches), partial(_take, batches=batches)
    timed = {"amount": BATCH * len(batches), "unit": "rows/s", "rounds": 3 if quick else 31}
    rows = []
    for threads, goal in goals.items():
        with _using(threads), ThreadPoolExecutor(threads) as pool:
            told = f"{threads} thread{'s'[: threads - 1]}"
            from_map = partial(takes, mapped, pool=pool, threads=threads)
            rows += [
                compare(f"{name}, {told} / np.take in memory", reads, partial(takes, memory), goal=goal, **timed),
                compare(f"{name}, {told} / np.take from a map, {told}", reads, from_map, goal=0.95, **timed),
                limit(compare(f"np.take from a map, {told} / in memory", from_map, partial(takes, memory), **timed)),
            ]
    return rows


def _read(store: FeatureStore, batches: Sequence[np.ndarray]) -> None:
    out = torch.empty((BATCH, *store.field("image").shape), dtype=torch.float16)
    for batch in batches:
        store.read("image", batch, out=out)


def _take(
    table: np.ndarray, batches: Sequence[np.ndarray], pool: ThreadPoolExecutor | None = None, threads: int = 1
) -> None:
    out = np.empty((BATCH, *table.shape[1:]), table.dtype)
    pieces = [slice(BATCH * part // threads, BATCH * (part + 1) // threads) for part in range(threads)]
    for batch in batches:

        def piece(of: slice, batch: np.ndarray = batch) -> None:
            np.take(table, batch[of], axis=0, out=out[of], mode="clip")

        if pool is None or threads == 1:
            piece(slice(None))
        else:
            list(pool.map(piece, pieces))


@contextmanager
def _using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
