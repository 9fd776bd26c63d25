"""Batches of embeddings gathered where they are used, against a DataLoader whose 2 workers gather and send them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from distillkit.store.reading.reader import FeatureStore
from tests.bench.measure import Row, compare
from tests.bench.stores import BATCH, WIDTH, make_store


def run(folder: Path, quick: bool) -> list[Row]:
    """Both deliver the same batches of a shuffled epoch; the workers read the same store, a whole batch at a time."""
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    store = make_store(folder / "store", rows, shard)
    order = np.random.default_rng(0).permutation(rows)
    batches = [order[first : first + BATCH] for first in range(0, rows, BATCH)][: 8 if quick else 400]
    loader = DataLoader(
        Rows(store), batch_size=None, sampler=batches, num_workers=2, persistent_workers=True, prefetch_factor=4
    )

    def ours() -> None:
        for batch in batches:
            store.read("image", batch)

    def theirs() -> None:
        _exhaust(iter(loader))

    row = compare(
        f"batches of {BATCH} x {WIDTH} fp16, gathered where they are used / by 2 DataLoader workers",
        ours,
        theirs,
        goal=6,
        amount=sum(map(len, batches)),
        unit="rows/s",
        rounds=2 if quick else 7,
    )
    return [row]


class Rows(Dataset[torch.Tensor]):
    """What a worker does: a whole batch in one gather, so that nothing but the sending is left to be slow."""

    def __init__(self, store: FeatureStore):
        self.store = store

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        return self.store.read("image", rows)

    def __len__(self) -> int:
        return len(self.store)


def _exhaust(batches: Iterator[torch.Tensor]) -> None:
    for _ in batches:
        pass
