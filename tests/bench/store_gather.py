"""Random rows of a store through the public API (row numbers to tensor) against np.take from an array in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from distillkit.store.field import Field
from distillkit.store.plan import SCHEMA
from distillkit.store.reader import FeatureStore
from distillkit.store.writer import StoreWriter
from tests.bench.measure import Row, compare

WIDTH, BATCH = 768, 1024


def run(folder: Path, quick: bool) -> list[Row]:
    rows, shard = (16_384, 4_096) if quick else (1_000_000, 65_536)
    store = make_store(folder / "gather", rows, shard)
    random = np.random.default_rng(0)
    batches = [random.integers(rows, size=BATCH) for _ in range(20 if quick else 200)]
    table = store.read("image", np.arange(rows)).numpy()
    buffer, out = np.empty((BATCH, WIDTH), np.float16), torch.empty(BATCH, WIDTH, dtype=torch.float16)

    def ours() -> None:
        for batch in batches:
            store.read("image", batch, out=out)

    def theirs() -> None:
        for batch in batches:
            np.take(table, batch, axis=0, out=buffer, mode="clip")

    before = torch.get_num_threads()
    made = []
    for threads, goal in ((1, 0.9), (2, 1.3)):
        torch.set_num_threads(threads)
        made.append(
            compare(
                f"random gather of {BATCH} x {WIDTH} fp16, {threads} thread{'s'[: threads - 1]} / np.take in memory",
                ours,
                theirs,
                goal=goal,
                amount=BATCH * len(batches),
                unit="rows/s",
                rounds=3 if quick else 7,
            )
        )
    torch.set_num_threads(before)
    return made


def make_store(path: Path, rows: int, rows_per_shard: int) -> FeatureStore:
    """A store of random rows, written by the store's own writer."""
    plan = pa.table({"key": [f"{n:08d}" for n in range(rows)]}).select(["key"])
    for field in list(SCHEMA)[1:]:
        plan = plan.append_column(field.name, pa.nulls(rows, field.type))
    identity = {"source": {"kind": "bench", "knobs": {}, "root": None}, "teachers": {"bench": {}}, "views": {}}
    field = Field(teacher="bench", shape=[WIDTH], dtype="float16")
    writer = StoreWriter(path, plan.cast(SCHEMA), {"bench/image": field}, rows_per_shard, identity)
    writer.begin()
    random = np.random.default_rng(1)
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        values = random.standard_normal((stop - first, WIDTH), dtype=np.float32).astype(np.float16)
        writer.commit(shard, {"bench/image": values}, [])
    writer.finish({})
    return FeatureStore(path)
