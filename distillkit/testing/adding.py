"""What is added to a store beside what is there: another teacher of the same rows, and what is none."""

from __future__ import annotations

import shutil
from typing import Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from distillkit.errors import StoreError
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.additions import FOLDER
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.record import digest as digest_of
from distillkit.testing.damage import refuses
from distillkit.testing.promise import must
from distillkit.testing.rows import PER_SHARD, plan_of, rows_of
from distillkit.testing.writing import Said, Writing

_WRONG = "an addition made for another plan, with a teacher that the base or another addition has, or with other views"


class Adding(Writing):
    """`added`: the take of each addition, by name; their rows fail on their own."""

    def __init__(self) -> None:
        super().__init__()
        self.added: dict[str, int] = {}

    @precondition(lambda self: self.done and not self.lost and self.version > 1 and len(self.added) < 2)
    @rule(take=st.integers(0, 9))
    def add_a_teacher(self, take: int) -> None:
        name = f"later{len(self.added)}"
        self._add(name, name, take)
        self.added[name] = take

    @precondition(lambda self: self.done and not self.lost and self.version == 1)
    @rule()
    def add_to_version_1(self) -> None:
        self._is_refused("wrong", "later", "anything newer in a store of version 1 must be refused")

    @precondition(lambda self: self.done and not self.lost and self.version > 1)
    @rule(wrong=st.sampled_from(["plan", "teacher", "views", "added"]))
    def add_what_does_not_belong(self, wrong: Literal["plan", "teacher", "views", "added"]) -> None:
        """It is refused; taken away, all is well."""
        if wrong == "added" and not self.added:
            return
        alias = {"teacher": "toy", "added": "later0"}.get(wrong, "stranger")
        self._is_refused(wrong, alias, _WRONG)

    def _is_refused(self, wrong: str, alias: str, sentence: str) -> None:
        try:
            self._add("wrong", alias, 0, wrong)
        except StoreError:
            pass  # the writer refuses as well what is not of these rows
        else:
            must(sentence, refuses(lambda: FeatureStore(self.path)), f"opened with another {wrong}")
        shutil.rmtree(self.path / FOLDER / "wrong")

    def _add(self, name: str, alias: str, take: int, wrong: str = "") -> None:
        plan = plan_of(self.rows, 1) if wrong == "plan" else self.plan
        identity = {
            "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
            "teachers": {alias: {"model": alias, "weights_sha256": "2" * 64}},
            "views": {"count": 2} if wrong == "views" else {"count": 1},
        }
        fields = _fields(alias)
        if wrong == "views":
            fields = {f"{alias}/more": Field(teacher=alias, shape=[2, 16], dtype="float16", per_view=True)}

        def said(first: int, stop: int) -> Said:
            failed = [(row - first, "decode", "grey") for row in range(first, stop) if _fails(row, take)]
            return rows_of(fields, first, stop, take), failed

        fill(StoreWriter(self.path / FOLDER / name, plan, fields, PER_SHARD, identity), said, {})

    @precondition(lambda self: self.done and not self.lost and self.added)
    @invariant()
    def additions_are_read_beside_the_base(self) -> None:
        base = FeatureStore(self.path)
        assert base.digest == Manifest.read(self.path).digest, "what is not used changes what a store is called"
        store = FeatureStore(self.path, uses=self.added)
        digests = {name: Manifest.read(self.path / FOLDER / name).digest for name in self.added}
        assert store.digest == digest_of({"added": digests, "base": base.digest})
        both = [row for row in base.ok_rows if not any(_fails(row, take) for take in self.added.values())]
        must("where a field of an addition is used, a row must be `ok` in both", np.array_equal(store.ok_rows, both))
        for name, take in self.added.items():
            for shard in range(self.writer.shards):
                first, stop = self.writer.span(shard)
                ok = [row for row in range(first, stop) if not _fails(row, take)]
                wanted = rows_of(_fields(name), first, stop, take)[f"{name}/more"][[row - first for row in ok]]
                assert store.read(f"{name}/more", np.array(ok)).numpy().tobytes() == wanted.tobytes()
        assert not verify(self.path)


def _fields(alias: str) -> dict[str, Field]:
    return {f"{alias}/more": Field(teacher=alias, shape=[32], dtype="float16")}


def _fails(row: int, take: int) -> bool:
    return (row + 3 * take) % 13 == 5
