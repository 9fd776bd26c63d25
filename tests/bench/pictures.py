"""Photographs that nobody took, and a store of them: smooth shapes with grain, whose JPEGs cost what others do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from distillkit.store.format.field import Field
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter
from tests.bench.stores import WIDTH

QUALITY, GRAIN = 92, 7.0  # 78 kB each, as photographs of that size have


def picture_store(
    folder: Path, count: int, width: int = 500, height: int = 375, classes: int | None = None
) -> FeatureStore:
    """`count` JPEGs below folder/pictures, and a store of random fp16 features of them, with so many classes."""
    root = folder / "pictures"
    names = pictures(root, count, width, height)
    labels = pa.nulls(count, pa.int64()) if classes is None else pa.array(np.arange(count) % classes)
    plan = pa.table([names, names, pa.nulls(count, pa.string()), labels], SCHEMA)
    source = {"kind": "folder", "knobs": {"root": str(root)}, "root": str(root)}
    identity = {"source": source, "teachers": {"bench": {}}, "views": {}}
    field = Field(teacher="bench", shape=[WIDTH], dtype="float16")
    writer = StoreWriter(folder / "store", plan, {"bench/image": field}, 8192, identity)
    writer.begin()
    random = np.random.default_rng(1)
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        values = random.standard_normal((stop - first, WIDTH), dtype=np.float32).astype(np.float16)
        writer.commit(shard, {"bench/image": values}, [])
    writer.finish({})
    return FeatureStore(folder / "store")


def pictures(root: Path, count: int, width: int = 500, height: int = 375) -> list[str]:
    """The names of `count` JPEGs, which it makes in a new folder."""
    root.mkdir(parents=True)
    random = np.random.default_rng(0)
    names = [f"{number:06d}.jpg" for number in range(count)]
    for name in names:
        _picture(random, width, height).save(root / name, quality=QUALITY)
    return names


def _picture(random: np.random.Generator, width: int, height: int) -> Image.Image:
    rough = random.integers(0, 256, (height // 25, width // 25, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = random.standard_normal((height, width, 1), dtype=np.float32) * GRAIN
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
