"""For tests of what is built on stores: strategies of Hypothesis, and a model that a store is checked against.

    from distillkit.testing import StoreMachine, fields, rows_of

`pip install "distillkit[testing]"`. StoreMachine begins, commits, dies, loses files, runs out of room, goes on, selects
and flips bits as Hypothesis likes, and after each step the store must be what a dict says; subclass it to add rules.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from distillkit.errors import DiskFull, StoreError
from distillkit.store.format import layout
from distillkit.store.format.field import ABSENT, DTYPES, Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter

_PER_SHARD = 64


def fields() -> st.SearchStrategy[dict[str, Field]]:
    """Fields of one teacher, whose shards of 64 rows are whole pages."""
    one = st.builds(
        lambda dtype, shape: Field(teacher="toy", shape=shape, dtype=dtype),
        st.sampled_from(["float16", "float32", "int32"]),
        st.sampled_from([[32], [2, 16], [64]]),
    )
    return st.dictionaries(st.sampled_from(["toy/image", "toy/text", "toy/patches"]), one, min_size=1)


def plan_of(rows: int) -> pa.Table:
    """A plan of so many rows, each with an image, a text and a label of its own."""
    keys = [f"k{row:05d}" for row in range(rows)]
    return pa.table([keys, [f"{key}.png" for key in keys], [f"text {key}" for key in keys], [*range(rows)]], SCHEMA)


def rows_of(fields: dict[str, Field], first: int, stop: int, take: int) -> dict[str, np.ndarray]:
    """What a teacher says of rows; another `take` says something else of them."""
    random = np.random.default_rng([first, take])
    return {
        name: (100 * random.standard_normal((stop - first, *field.shape))).astype(DTYPES[field.dtype])
        for name, field in fields.items()
    }


class StoreMachine(RuleBasedStateMachine):
    """A store on a disk beside `kept`, a dict of what each committed shard must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="distillkit-"))
        self.path = self.folder / "store"
        self.kept: dict[int, tuple[dict[str, np.ndarray], list[Failure]]] = {}
        self.lost: set[int] = set()
        self.begun = self.done = False

    @initialize(fields=fields(), rows=st.integers(1, 3 * _PER_SHARD))
    def opened(self, fields: dict[str, Field], rows: int) -> None:
        self.fields, self.rows = fields, rows
        self.writer = self.made()

    def made(self) -> StoreWriter:
        """A writer as another process would have it."""
        identity = {
            "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
            "teachers": {"toy": {"model": "toy", "weights_sha256": "0" * 64}},
            "views": {"count": 1},
        }
        return StoreWriter(self.path, plan_of(self.rows), self.fields, _PER_SHARD, identity)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # What people and machines do.

    @precondition(lambda self: not self.done)
    @rule()
    def begin(self) -> None:
        """Once, or again after a kill."""
        self.writer.begin()
        self.begun = True

    @rule()
    def killed(self) -> None:
        """The process is gone; another one comes, and finds half a file."""
        self.writer = self.made()
        if self.begun and not self.done:
            (self.path / "index/left.arrow.partial").write_bytes(b"half")

    @precondition(lambda self: self.begun and not self.done)
    @rule(data=st.data(), take=st.integers(0, 3))
    def commit(self, data: st.DataObject, take: int) -> None:
        """A shard that is not there is written, some of its rows failed."""
        todo = [shard for shard in range(self.writer.shards) if shard not in self.kept]
        if todo:
            shard = data.draw(st.sampled_from(todo))
            arrays, failures = self.said(shard, take)
            self.writer.commit(shard, {name: values.copy() for name, values in arrays.items()}, failures)
            self.kept[shard] = arrays, failures

    def said(self, shard: int, take: int) -> tuple[dict[str, np.ndarray], list[Failure]]:
        """What is to be written of a shard, and what is kept of it."""
        first, stop = self.writer.span(shard)
        failures = [(row, "decode", "grey") for row in range(stop - first) if (first + row + take) % 17 == 3]
        return rows_of(self.fields, first, stop, take), failures

    @precondition(lambda self: self.begun and not self.done)
    @rule(data=st.data(), fails=st.integers(0, 6))
    def commit_on_a_full_disk(self, data: st.DataObject, fails: int) -> None:
        """The disk is full at some fsync: it is told, and the shard is there or it is not."""
        todo = [shard for shard in range(self.writer.shards) if shard not in self.kept]
        if not todo:
            return
        shard, left = data.draw(st.sampled_from(todo)), fails
        arrays, failures = self.said(shard, 0)

        def full(handle: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with patch.object(os, "fsync", full):
            try:
                self.writer.commit(shard, {name: values.copy() for name, values in arrays.items()}, failures)
            except DiskFull:
                assert not self.writer.committed(shard)
            else:
                self.kept[shard] = arrays, failures

    @precondition(lambda self: self.begun and len(self.kept) == self.writer.shards and not self.lost)
    @rule()
    def finish(self) -> None:
        self.writer.finish({"toy": "1"})
        self.done = True

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def lose_a_file(self, data: st.DataObject) -> None:
        """Somebody deletes a file of a committed shard."""
        shard = data.draw(st.sampled_from(sorted(self.kept)))
        name = data.draw(st.sampled_from(sorted(self.fields)))
        (self.path / layout.shard_path(name, shard, self.fields[name])).unlink(missing_ok=True)
        self.lost.add(shard)

    @precondition(lambda self: self.begun)
    @rule()
    def mend(self) -> None:
        """What has lost files is to do again, and only that; a store that lacks something is not finished."""
        assert set(self.writer.mend()) == self.lost
        for shard in self.lost:
            del self.kept[shard]
        self.done = self.done and not self.lost
        self.lost = set()

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        """Verify names the file; put right, all is well."""
        files = [name for shard in Manifest.read(self.path).shards for name in shard.files]
        path = self.path / data.draw(st.sampled_from(sorted(files)))
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [line.split(": ")[0] for line in verify(self.path)] == [str(path)]
        path.write_bytes(whole)

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data())
    def select_rows(self, data: st.DataObject) -> None:
        """A view shows its rows, and no other as usable."""
        chosen = sorted(data.draw(st.sets(st.integers(0, self.rows - 1), min_size=1)))
        view = self.folder / "view"
        select(self.path, np.array(chosen), view)
        usable = np.intersect1d(chosen, FeatureStore(self.path).ok_rows)
        assert np.array_equal(FeatureStore(view).ok_rows, usable) and not verify(view)

    # What must hold.

    @invariant()
    def a_shard_exists_when_its_commit_does(self) -> None:
        there = {shard for shard in range(self.writer.shards) if self.writer.committed(shard)}
        assert there == set(self.kept)

    @invariant()
    def the_store_exists_when_its_manifest_does(self) -> None:
        try:
            store = FeatureStore(self.path)
        except StoreError:
            assert not self.done or self.lost
            return
        assert self.done
        assert bool(verify(self.path)) == bool(self.lost)
        if self.lost:
            return
        ok = np.ones(self.rows, bool)
        for shard, (arrays, failures) in self.kept.items():
            first, stop = self.writer.span(shard)
            failed = [row for row, _, _ in failures]
            ok[[first + row for row in failed]] = False
            for name, values in arrays.items():
                self._equal(store.read(name, np.arange(first, stop), raw=True), values, failed, self.fields[name])
        assert np.array_equal(store.ok_rows, np.flatnonzero(ok))

    def _equal(self, found: Any, values: np.ndarray, failed: list[int], field: Field) -> None:
        wanted = values.copy()
        wanted[failed] = ABSENT[field.dtype]
        assert np.array_equal(found.numpy(), wanted, equal_nan=field.dtype != "int32")
