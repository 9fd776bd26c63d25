"""Jobs that write stores from rows that are there: begin, commit, finish, mend."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from distillkit.errors import StoreError
from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import Failure, StoreWriter
from distillkit.system.atomic import make_folder
from tests.faults.check import Job, Promise

ROWS, SHARD = 150, 64
FIELDS = {
    "toy/image": Field(teacher="toy", shape=[32], dtype="float16"),
    "toy/near": Field(teacher="toy", shape=[32], dtype="int32"),
}


def plan(rows: int = ROWS) -> pa.Table:
    names = [f"k{n:04d}" for n in range(rows)]
    columns = [names, [f"{name}.png" for name in names], [f"text {n}" for n in range(rows)], list(range(rows))]
    return pa.table(columns, SCHEMA)


def writer(path: Path, rows: int = ROWS, duplicates: int = 0) -> StoreWriter:
    identity = {
        "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": duplicates},
        "teachers": {"toy": {"model": "toy", "weights_sha256": "0" * 64}},
        "views": {"count": 1},
    }
    return StoreWriter(path, plan(rows), FIELDS, SHARD, identity)


def rows_of(take: int = 0, failed: tuple[int, ...] = (3, 70)):
    """What a teacher says of rows first .. stop-1; on another `take` it says it a little differently, as GPUs do."""

    def rows(first: int, stop: int) -> tuple[dict[str, np.ndarray], list[Failure]]:
        random = np.random.default_rng([first, take])
        arrays = {
            name: (100 * random.standard_normal((stop - first, *field.shape))).astype(DTYPES[field.dtype])
            for name, field in FIELDS.items()
        }
        return arrays, [(row - first, "decode", "grey") for row in failed if first <= row < stop]

    return rows


def is_complete(store: str):
    def kept(folder: Path) -> None:
        assert (folder / store / FILE_NAME).is_file(), f"{store} is not complete any more"

    return kept


def has_shard(store: str, shard: int):
    def kept(folder: Path) -> None:
        one = writer(folder / store)
        assert one.committed(shard) and shard not in one.damaged(), f"shard {shard} is not committed any more"

    return kept


def look_at_store(path: Path, digests: set[str]) -> None:
    """Absent, or whole and one of these."""
    if not (path / FILE_NAME).is_file():
        try:
            FeatureStore(path)
        except StoreError:
            return
        raise AssertionError(f"{path}: opened without a manifest")
    assert verify(path) == [], verify(path)[0]
    assert Manifest.read(path).digest in digests, f"{path}: another store"
    FeatureStore(path).read("toy/image", np.arange(3))


class Written(Job):
    """A store from its first file to its last."""

    name = "a store is written"
    take = 0

    def prepare(self, folder: Path) -> None:
        self.digests = {self._made(folder.with_name("reference"))}

    def _made(self, folder: Path) -> str:
        return fill(writer(folder / "out/store"), rows_of(self.take), {}).digest

    def run(self, folder: Path, promise: Promise) -> None:
        one = writer(folder / "out/store")
        one.mend()
        if one.finished():
            one.tidy()
            return
        one.begin()
        for shard in range(one.shards):
            if not one.committed(shard):
                one.commit(shard, *rows_of(self.take)(*one.span(shard)))
                promise(f"shard {shard}", has_shard("out/store", shard))
        one.finish({})
        promise("complete", is_complete("out/store"))

    def look(self, folder: Path) -> None:
        look_at_store(folder / "out/store", self.digests)


class Staged(Written):
    """Shards are written beside the store by workers and moved in by who holds the claims, as on Ray."""

    name = "shards from workers"

    def run(self, folder: Path, promise: Promise) -> None:
        one, staging = writer(folder / "out/store"), folder / "out/.store.staged"
        one.mend()
        one.begin()
        for shard in range(one.shards):
            if not one.committed(shard):
                shutil.rmtree(staging / str(shard), ignore_errors=True)
                make_folder(staging / str(shard))
                record = one.write(shard, *rows_of()(*one.span(shard)), staging / str(shard))
                one.adopt(shard, record, staging / str(shard))
                promise(f"shard {shard}", has_shard("out/store", shard))
        if not one.finished():
            one.finish({})
        promise("complete", is_complete("out/store"))
        shutil.rmtree(staging, ignore_errors=True)


class WrittenAgain(Written):
    """Shards that lost files are made again by a teacher who says the same a little differently."""

    name = "a store that lost files is mended"
    take = 1

    def prepare(self, folder: Path) -> None:
        fill(writer(folder / "out/store"), rows_of(0), {})
        for shard in (0, 2):
            (folder / f"out/store/toy/near/c/{shard}/0").unlink()
        self.look = lambda folder: None
        self.was = Manifest.read(folder / "out/store").shards

    def outcome(self, folder: Path) -> dict[str, bytes]:
        assert verify(folder / "out/store") == [], verify(folder / "out/store")[0]
        return super().outcome(folder)


JOBS = (Written, Staged, WrittenAgain)
