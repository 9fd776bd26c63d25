"""Two toy stores of one teacher in 32 dimensions: clustered texts, and images that look like some of them."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.store.format.field import Field
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter

WIDTH = 32


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def write(
    path: Path, field: str, vectors: np.ndarray, texts=None, failed=(), teacher="toy", model="toy", rows_per_shard=128
):
    """A store of one field; the text of row n is "text n" unless it is said."""
    rows = len(vectors)
    texts = texts or [f"text {n}" for n in range(rows)]
    columns = [[f"k{n:05d}" for n in range(rows)], [f"{n}.png" for n in range(rows)], texts, [None] * rows]
    plan = pa.table([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA)
    identity = {
        "source": {"kind": "toy", "knobs": {}, "root": None},
        "teachers": {teacher: {"model": model}},
        "views": {"count": 1},
    }
    fields = {f"{teacher}/{field}": Field(teacher=teacher, shape=[vectors.shape[1]], dtype="float16")}
    writer = StoreWriter(path, plan, fields, rows_per_shard, identity)
    writer.begin()
    for shard in range(writer.shards):
        first, stop = writer.span(shard)
        gone = [(row - first, "decode", "grey") for row in failed if first <= row < stop]
        writer.commit(shard, {f"{teacher}/{field}": vectors[first:stop].astype(np.float16)}, gone)
    writer.finish({})
    return FeatureStore(path)


def clustered(rows, seed, centres=40, width=WIDTH):
    """Vectors around common centres, of lengths between 5 and 15."""
    directions = np.random.default_rng(99).standard_normal((centres, width))
    random = np.random.default_rng(seed)
    around = directions[random.integers(centres, size=rows)] + 0.5 * random.standard_normal((rows, width))
    return around / np.linalg.norm(around, axis=1, keepdims=True) * random.uniform(5, 15, (rows, 1))


@pytest.fixture
def images(tmp_path):
    return write(tmp_path / "images", "image", clustered(300, 1), failed=(3, 200))


@pytest.fixture
def texts(tmp_path):
    return write(tmp_path / "texts", "text", clustered(1000, 2), failed=(7,))


def truth(queries, corpus, k, rows=None):
    """The k nearest rows by numpy, from what the stores hold; `rows` limits the corpus."""
    rows = corpus.ok_rows if rows is None else rows
    (one,), (other,) = ([*store.manifest.fields] for store in (queries, corpus))
    a, b = queries.read(one, queries.ok_rows).float().numpy(), corpus.read(other, rows).float().numpy()
    scores = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows[order], np.take_along_axis(scores, order, axis=1)
