"""A store that is looked at and copied from elsewhere: views, a merged store, a bucket and back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import fsspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import local, workplace
from distillkit.store.format.encode import stored
from distillkit.store.format.manifest import VERSION, Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.temporary import TEMPORARY
from distillkit.testing.damage import refuses
from distillkit.testing.promise import must
from distillkit.testing.rows import (
    PER_SHARD,
    identity_of,
    plan_of,
    rows_of,
    steps_of_fields,
    without_features,
)
from distillkit.testing.writing import Said, Writing

_URL = "memory://distillkit-testing"


class Elsewhere(Writing):
    """`view`: the digest of the store that it was made of, and its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.view: tuple[str, list[int]] | None = None

    @precondition(lambda self: self.done and not self.lost)
    @rule(data=st.data())
    def select_rows(self, data: st.DataObject) -> None:
        chosen = sorted(data.draw(st.sets(st.integers(0, self.rows - 1), min_size=1, max_size=9)))
        select(self.path, np.array(chosen), self.folder / "view")
        self.view = Manifest.read(self.path).digest, chosen

    @precondition(lambda self: self.view and not self.lost)
    @invariant()
    def a_view_shows_its_rows_or_nothing(self) -> None:
        assert self.view is not None
        digest, chosen = self.view
        of_this = self.done and Manifest.read(self.path).digest == digest
        try:
            store = FeatureStore(self.folder / "view")
        except StoreError:
            assert not of_this, "a view of this store is refused"
            return
        must("A reader must refuse a view whose store has another digest", of_this, "it is opened")
        usable = np.intersect1d(chosen, FeatureStore(self.path).ok_rows)
        sentence = "the others must be treated like rows without features"
        must(sentence, np.array_equal(store.ok_rows, usable), "other rows are usable")
        others = np.setdiff1d(np.arange(self.rows), chosen)[:1]
        must(sentence, all(refuses(lambda: store.rows_of(store.values("key", others))) for _ in others))
        assert not verify(self.folder / "view")

    @precondition(lambda self: self.done and not self.lost)
    @rule(rows=st.integers(1, PER_SHARD + 9), first=st.integers(0, 4 * PER_SHARD))
    def merge(self, rows: int, first: int) -> None:
        """Another store's rows behind these, which may have some of their keys."""
        self._another(rows, first, "0")
        theirs = rows_of(self.fields, first, first + rows, 5)
        concatenate(self.folder / "merged", [self.path, self.folder / "another"], lambda line: None, {})
        store, new = FeatureStore(self.folder / "merged"), [n for n in range(rows) if first + n >= self.rows]
        assert store.values("label", np.arange(len(store))) == [*range(self.rows), *(first + n for n in new)]
        assert not verify(self.folder / "merged")
        self.is_what_was_kept(FeatureStore(self.folder / "merged"), ends_at=self.rows)
        for name, field in self.fields.items():
            found = stored(store.read(name, np.arange(self.rows, len(store)), raw=True), field)
            wanted = without_features(theirs[name], [0], field)[new]
            assert found.tobytes() == wanted.tobytes(), f"{name}: other numbers behind the first store's"
        shutil.rmtree(self.folder / "merged")

    @precondition(lambda self: self.done and not self.lost)
    @rule()
    def merge_with_another_teachers(self) -> None:
        self._another(3, 0, "1")
        out = self.folder / "merged"
        refused = refuses(lambda: concatenate(out, [self.path, self.folder / "another"], lambda line: None, {}))
        must("to use two stores together whose teachers differ in any value", refused and not out.exists())

    def _another(self, rows: int, first: int, weights: str) -> None:
        """A store of the same fields, whose first row failed."""
        path = self.folder / "another"
        shutil.rmtree(path, ignore_errors=True)
        writer = StoreWriter(path, plan_of(rows, first), self.fields, PER_SHARD, identity_of(weights))
        writer.steps = steps_of_fields(self.fields)
        every = rows_of(self.fields, first, first + rows, 5)

        def said(start: int, stop: int) -> Said:
            return {name: values[start:stop].copy() for name, values in every.items()}, [(0, "decode", "grey")][start:1]

        fill(writer, said, {})

    @precondition(lambda self: self.done and not self.lost and self.version == VERSION)
    @rule()
    def to_a_bucket_and_back(self) -> None:
        """What is written there is what is written here; read through the cache, and copied back."""
        bucket, url = fsspec.filesystem("memory"), f"{_URL}/{self.folder.name}"
        try:
            with patch.dict(os.environ, {"DISTILLKIT_CACHE": str(self.folder / "cache")}):
                writer = StoreWriter(workplace(url) / "store", self.plan, self.fields, PER_SHARD, identity_of())
                writer.steps = steps_of_fields(self.fields)
                digest = fill(writer, self._kept_rows, {"toy": "1"}).digest
                bucket.get(url, str(self.folder / "back"), recursive=True)
                self.is_what_was_kept(FeatureStore(f"{url}/store"))
                assert not verify(local(f"{url}/store"))
        finally:
            bucket.rm(url, recursive=True)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        back = self.folder / "back/store"
        sentence = "In a bucket the same files lie below the store's prefix, under the same names"
        must(sentence, _files(back) == _files(self.path), "other files")
        assert Manifest.read(back).digest == digest
        shutil.rmtree(back.parent)

    def _kept_rows(self, first: int, stop: int) -> Said:
        arrays, failures = self.kept[first // PER_SHARD]
        return {name: values.copy() for name, values in arrays.items()}, failures


def _files(store: Path) -> dict[str, bytes]:
    """By name, but what a writer had begun and what was added."""
    names = (path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    return {
        name: (store / name).read_bytes() for name in names if not name.endswith(TEMPORARY) and name[:6] != "added/"
    }
