"""A toy store without a teacher: rows are random, texts and labels tell the row, some rows failed."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.log import FILE_NAME
from distillkit.store.format.plan import SCHEMA
from distillkit.store.writing.writer import StoreWriter

FIELDS = {
    "toy/image": Field(teacher="toy", shape=[32], dtype="float16"),
    "toy/text": Field(teacher="toy", shape=[32], dtype="float16"),
    "toy/patches": Field(teacher="toy", shape=[2, 16], dtype="float32"),
}


@dataclass
class Toy:
    """A store and what was put into it."""

    path: Path
    arrays: dict[str, np.ndarray]
    failed: dict[int, str]
    keys: list[str]
    fields: dict[str, Field]
    captions: int = 1  # rows of each image

    def writer(self, **changes):
        rows = len(self.keys)
        columns = [
            self.keys,
            [f"{self.keys[row - row % self.captions]}.png" for row in range(rows)],
            [f"text {n}" for n in range(rows)],
            list(range(rows)),
        ]
        identity = {
            "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
            "teachers": {"toy": {"model": "toy", "weights_sha256": "0" * 64}},
            "views": {"count": 1},
        } | changes.pop("identity", {})
        options = {"fields": self.fields, "rows_per_shard": 64, "identity": identity} | changes
        return StoreWriter(self.path, pa.table(columns, SCHEMA), **options)

    def commit(self, writer, shard):
        first, stop = writer.span(shard)
        failures = [(row - first, "decode", error) for row, error in self.failed.items() if first <= row < stop]
        writer.commit(shard, {name: array[first:stop].copy() for name, array in self.arrays.items()}, failures)

    def write(self, **changes):
        """Begin or continue, as extraction does."""
        writer = self.writer(**changes)
        writer.begin()
        for shard in range(writer.shards):
            if not writer.committed(shard):
                self.commit(writer, shard)
        writer.finish({"toy": "1"})
        return self


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Waiting for the disk is tested in test_atomic.py; a killed process loses nothing that the system already has."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def toy_at(path, rows=150, failed=(3, 70, 149), fields=FIELDS):
    """A toy that is not written yet."""
    random = np.random.default_rng(rows)
    arrays = {
        name: random.standard_normal((rows, *field.shape)).astype(DTYPES[field.dtype]) for name, field in fields.items()
    }
    keys = [f"k{n:04d}" for n in range(rows)]
    return Toy(path, arrays, {row: f"no. {row} is grey" for row in failed}, keys, fields)


@pytest.fixture
def make_toy(tmp_path):
    def make(rows=150, failed=(3, 70, 149), path=tmp_path / "store", fields=FIELDS):
        return toy_at(path, rows, failed, fields)

    return make


@pytest.fixture
def toy(make_toy):
    return make_toy().write()


def contents(folder):
    """Every file below `folder` and its bytes, but for the log of a store, which is no part of it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != FILE_NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
