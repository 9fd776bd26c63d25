"""The stores that rows are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.store.format import layout
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import FILE_NAME, File, Manifest, Shard
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import write_json

WIDTH, BATCH = 768, 1024
_NAME = "bench/image"
_SOURCE = {"kind": "bench", "knobs": {}, "root": None}


def make_store(path: Path, rows: int, rows_per_shard: int, shape: tuple[int, ...] = (WIDTH,)) -> FeatureStore:
    """A store of random fp16 rows, written by the store's own writer."""
    identity = {"source": _SOURCE, "teachers": {"bench": {}}, "views": {}}
    field = Field(teacher="bench", shape=list(shape), dtype="float16")
    writer = StoreWriter(path, plan(0, rows), {_NAME: field}, rows_per_shard, identity)
    writer.begin()
    block = np.random.default_rng(1).standard_normal((rows_per_shard, *shape), dtype=np.float32).astype(np.float16)
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        # Other rows in every shard: the same ones, shifted.
        writer.commit(shard, {_NAME: np.roll(block, 7 * shard, axis=0)[: stop - first]}, [])
    writer.finish({})
    return FeatureStore(path)


def sparse_store(path: Path, rows: int, rows_per_shard: int) -> FeatureStore:
    """A store whose rows take no space on the disk and are all zero; its index is whole, its checksums are not."""
    field = Field(teacher="bench", shape=[WIDTH], dtype="float16")
    shards = []
    for shard, first in enumerate(range(0, rows, rows_per_shard)):
        count = min(rows_per_shard, rows - first)
        values, index = path / layout.shard_path(_NAME, shard, field), path / layout.index_path(shard)
        for place in (values, index):
            place.parent.mkdir(parents=True, exist_ok=True)
        with values.open("wb") as file:
            file.truncate(layout.shard_size(count, rows_per_shard, field))
        table = plan(first, count).add_column(1, "ok", pa.array(np.ones(count, bool)))
        with pa.ipc.new_file(index, table.schema) as arrow:
            arrow.write_table(table)
        made = {place.relative_to(path).as_posix(): place.stat().st_size for place in (values, index)}
        files = {name: File(bytes=size, sha256="0" * 64) for name, size in made.items()}
        shards.append(Shard(rows=count, ok=count, files=files))
    manifest = Manifest(
        name=path.name,
        source=_SOURCE | {"plan": "0" * 64},
        teachers={"bench": {}},
        fields={_NAME: field},
        views={},
        rows=rows,
        rows_per_shard=rows_per_shard,
        skipped=0,
        shards=shards,
        made_with={},
    )
    write_json(path / FILE_NAME, manifest.model_dump())
    return FeatureStore(path)


def plan(first: int, count: int) -> pa.Table:
    keys = pc.utf8_lpad(pc.cast(pa.array(np.arange(first, first + count)), pa.string()), 8, "0")
    empty = [pa.nulls(count, field.type) for field in list(SCHEMA)[1:]]
    return pa.table([keys, *empty], SCHEMA)


def random_batches(rows: int, count: int) -> list[np.ndarray]:
    """Row numbers of `count` batches, drawn from `rows`: int64 [BATCH] each."""
    random = np.random.default_rng(0)
    return [random.integers(rows, size=BATCH) for _ in range(count)]


def in_memory(store: FeatureStore) -> np.ndarray:
    """All its rows in an array of ours: numpy asks for pages of 2 MiB, so this is as fast as memory gets."""
    table = np.empty((len(store), *store.field("image").shape), np.float16)
    for first in range(0, len(store), 65_536):
        table[first : first + 65_536] = store.read("image", np.arange(first, min(first + 65_536, len(store)))).numpy()
    return table
