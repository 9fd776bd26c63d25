"""Clustered unit vectors, as embeddings of texts are: what the rows of mining search.

4096 clusters of Zipf sizes (weight 1/rank) around a common mean, so that two vectors have a cosine of 0.5; in each the
same 192 directions of falling variance, and noise in all 768. Real texts are easier: their dimension is lower.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from distillkit.store.format.field import Field
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter

WIDTH = 768
_CLUSTERS, _INNER = 4096, 192


class Clustered:
    """Draws vectors; equal seeds draw equal clusters, `draw(n, seed)` other members of them."""

    def __init__(self, seed: int = 0):
        random = np.random.default_rng(seed)
        self.mean = _unit(random.standard_normal((1, WIDTH)))
        self.centres = _unit(random.standard_normal((_CLUSTERS, WIDTH)))
        self.directions = np.linalg.qr(random.standard_normal((WIDTH, _INNER)))[0].T.astype(np.float32)
        self.spread = _unit(1 / np.sqrt(np.arange(1, _INNER + 1))[None])
        weights = 1 / np.arange(1, _CLUSTERS + 1)
        self.weights = weights / weights.sum()

    def draw(self, rows: int, seed: int) -> np.ndarray:
        """float32 [rows, WIDTH] of length 1."""
        random = np.random.default_rng(seed)
        cluster = random.choice(_CLUSTERS, rows, p=self.weights)
        inner = (random.standard_normal((rows, _INNER), dtype=np.float32) * self.spread) @ self.directions
        noise = random.standard_normal((rows, WIDTH), dtype=np.float32) / np.sqrt(WIDTH, dtype=np.float32)
        return _unit(self.mean + 0.6 * self.centres[cluster] + 0.8 * inner + 0.2 * noise)


def clustered_store(path: Path, rows: int, rows_per_shard: int, seed: int) -> FeatureStore:
    """A text store of such vectors, written shard by shard."""
    keys = pa.table({"key": [f"{n:08d}" for n in range(rows)]})
    for field in list(SCHEMA)[1:]:
        column = keys["key"] if field.name == "text" else pa.nulls(rows, field.type)  # a row without text has no vector
        keys = keys.append_column(field.name, column)
    identity = {
        "source": {"kind": "bench", "knobs": {}, "root": None},
        "teachers": {"bench": {"model": "bench"}},
        "views": {"count": 1},
    }
    field = Field(teacher="bench", shape=[WIDTH], dtype="float16")
    writer = StoreWriter(path, keys.cast(SCHEMA), {"bench/text": field}, rows_per_shard, identity)
    writer.begin()
    vectors = Clustered()
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        writer.commit(shard, {"bench/text": vectors.draw(stop - first, seed + shard).astype(np.float16)}, [])
    writer.finish({})
    return FeatureStore(path)


def _unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
