"""A store that is written, beside a dict of what must be in it: by one or two writers, killed, on a full disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from distillkit.errors import DiskFull, StoreError
from distillkit.store.format import layout
from distillkit.store.format.encode import stored
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import VERSION, Manifest
from distillkit.store.format.plan import plan_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import write_json
from distillkit.system.temporary import TEMPORARY
from distillkit.testing.promise import must
from distillkit.testing.rows import PER_SHARD, fields, identity_of, plan_of, rows_of, steps_of_fields, without_features

Said = tuple[dict[str, np.ndarray], list[Failure]]


class Writing(RuleBasedStateMachine):
    """`kept` has what each committed shard must hold; `lost` are those of them that lack a file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="distillkit-"))
        self.path = self.folder / "store"
        self.kept: dict[int, Said] = {}
        self.lost: set[int] = set()
        self.begun = self.done = False
        self.version = VERSION

    @initialize(fields=fields(), rows=st.integers(1, 3 * PER_SHARD))
    def opened(self, fields: dict[str, Field], rows: int) -> None:
        self.fields, self.rows, self.plan = fields, rows, plan_of(rows)
        self.writer = self.made()

    def made(self) -> StoreWriter:
        """A writer as another process would have it."""
        writer = StoreWriter(self.path, self.plan, self.fields, PER_SHARD, identity_of())
        writer.steps = writer.steps or steps_of_fields(self.fields)
        return writer

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def todo(self) -> list[int]:
        """The shards that nobody has committed."""
        return [shard for shard in range(self.writer.shards) if shard not in self.kept]

    def said(self, shard: int, take: int) -> Said:
        """What is to be written of a shard, and what is kept of it: some of its rows failed."""
        first, stop = self.writer.span(shard)
        failures = [(row, "decode", "grey") for row in range(stop - first) if (first + row + take) % 17 == 3]
        return rows_of(self.fields, first, stop, take), failures

    def commit_by(self, writer: StoreWriter, shard: int, said: Said) -> None:
        arrays, failures = said
        writer.commit(shard, {name: values.copy() for name, values in arrays.items()}, failures)
        must("a shard exists when its commit does", writer.committed(shard), f"shard {shard} was committed")

    # What people and machines do.

    @precondition(lambda self: not self.done)
    @rule()
    def begin(self) -> None:
        """Once, or again after a kill."""
        self.writer.begin()
        self.begun = True
        sentence = "A writer that continues a store removes `*.partial`, keeps what is committed"
        must(sentence, not [*self.path.rglob(f"*{TEMPORARY}")], "half a file is left")

    @precondition(lambda self: not self.begun and all(field.in_version_1 for field in self.fields.values()))
    @rule()
    def begun_by_version_1(self) -> None:
        """As the first version of the format wrote down what a store is; whatever comes now goes on with it."""
        self.begin()
        place = self.path / "plan.json"
        said = json.loads(place.read_bytes()) | {"plan": plan_digest(self.plan, 1)}
        write_json(place, {name: value for name, value in said.items() if name != "version"})
        self.version = 1
        self.writer.refresh()

    @rule()
    def killed(self) -> None:
        """The process is gone; another one comes, and finds half a file."""
        self.writer = self.made()
        if self.begun and not self.done:
            (self.path / f"index/left.arrow{TEMPORARY}").write_bytes(b"half")

    @precondition(lambda self: self.begun and not self.done and self.todo)
    @rule(data=st.data(), take=st.integers(0, 3))
    def commit(self, data: st.DataObject, take: int) -> None:
        """A shard that is not there is written."""
        shard = data.draw(st.sampled_from(self.todo))
        said = self.said(shard, take)
        self.commit_by(self.writer, shard, said)
        self.kept[shard] = said

    @precondition(lambda self: self.begun and not self.done and self.todo)
    @rule(data=st.data(), dies=st.booleans())
    def two_writers(self, data: st.DataObject, dies: bool) -> None:
        """While one has written the files of a shard, another one joins and commits its own; the first may die then."""
        mine = data.draw(st.sampled_from(self.todo))
        arrays, failures = self.said(mine, 1)
        record = self.writer.write(mine, {name: one.copy() for name, one in arrays.items()}, failures, self.path)
        in_hand = self.path / f"index/mine.arrow{TEMPORARY}"
        in_hand.write_bytes(b"half")
        other = self.made()
        other.begin(alone=False)
        assert in_hand.is_file(), "a file that another one was writing is gone"
        theirs = data.draw(st.sampled_from(self.todo))
        if theirs != mine:
            said = self.said(theirs, 2)
            self.commit_by(other, theirs, said)
            self.kept[theirs] = said
        if dies:
            self.killed()
        else:
            in_hand.unlink()
            self.writer.record(mine, record)
            self.kept[mine] = arrays, failures

    @precondition(lambda self: self.begun and not self.done and self.todo)
    @rule(data=st.data(), fails=st.integers(0, 6))
    def commit_on_a_full_disk(self, data: st.DataObject, fails: int) -> None:
        """The disk is full at some fsync: it is told, and the shard is there or it is not."""
        shard, left = data.draw(st.sampled_from(self.todo)), fails
        said = self.said(shard, 0)

        def full(handle: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with patch.object(os, "fsync", full):
            try:
                self.commit_by(self.writer, shard, said)
            except DiskFull:
                assert not self.writer.committed(shard)
            else:
                self.kept[shard] = said

    @precondition(lambda self: self.begun)
    @rule(rows=st.integers(1, 2 * PER_SHARD))
    def another_recipe_comes(self, rows: int) -> None:
        """It is told, and nothing changes."""
        before = (self.path / "plan.json").read_bytes()
        other = StoreWriter(self.path, plan_of(rows, 7), self.fields, PER_SHARD, identity_of("1"))
        try:
            fill(other, lambda first, stop: (rows_of(self.fields, first, stop, 9), []), {})
            refused = False
        except StoreError:
            refused = True
        same = (self.path / "plan.json").read_bytes() == before
        must("A writer must not continue a store whose `plan.json` differs from its own", refused and same)

    @precondition(lambda self: self.begun and not self.todo and not self.lost)
    @rule()
    def finish(self) -> None:
        assert self.writer.finish({"toy": "1"}).version == self.version
        self.done = True

    @precondition(lambda self: not self.done and not self.lost)
    @rule(take=st.integers(0, 3))
    def all_the_rest(self, take: int) -> None:
        """From wherever it is to its end."""
        self.begin()
        for shard in self.todo:
            said = self.said(shard, take)
            self.commit_by(self.writer, shard, said)
            self.kept[shard] = said
        self.finish()

    # What must hold.

    @invariant()
    def a_shard_exists_when_its_commit_does(self) -> None:
        there = {shard for shard in range(self.writer.shards) if self.writer.committed(shard)}
        must("a shard exists when its commit does", there == set(self.kept), f"shards {there}, not {set(self.kept)}")

    @precondition(lambda self: self.begun)
    @invariant()
    def steps_stay(self) -> None:
        wanted = {layout.steps_path(name): steps.tobytes() for name, steps in steps_of_fields(self.fields).items()}
        found = {name: (self.path / name).read_bytes() for name in wanted}
        must("are written before the first shard and must not change", found == wanted, "other steps")

    @invariant()
    def the_store_exists_when_its_manifest_does(self) -> None:
        try:
            store = FeatureStore(self.path)
        except StoreError:
            must("the store exists when its manifest does", not self.done or bool(self.lost), "it is refused")
            return
        must("the store exists when its manifest does", self.done, "it is opened")
        assert bool(verify(self.path)) == bool(self.lost)
        if not self.lost:
            assert Manifest.read(self.path).rows == self.rows
            self.is_what_was_kept(store)

    def is_what_was_kept(self, store: FeatureStore, ends_at: int | None = None) -> None:
        """Every number of every row, as it lies on disk; which rows have features, of those before `ends_at`."""
        ok = np.ones(self.rows, bool)
        for shard, (arrays, failures) in self.kept.items():
            first, stop = self.writer.span(shard)
            failed = [row for row, _, _ in failures]
            ok[[first + row for row in failed]] = False
            for name, values in arrays.items():
                field = self.fields[name]
                read = stored(store.read(name, np.arange(first, stop), raw=True), field)
                wanted = without_features(values, failed, field)
                assert read.tobytes() == wanted.tobytes(), f"{name}: other numbers in shard {shard}"
        found = store.ok_rows if ends_at is None else store.ok_rows[store.ok_rows < ends_at]
        assert np.array_equal(found, np.flatnonzero(ok)), "other rows have features"
