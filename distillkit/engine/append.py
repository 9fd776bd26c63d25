"""A corpus that grew: its store goes on where it ended, and nothing that is there is computed again.

The grown store is made as the successor of the old one. Its full shards are the old one's own files; the last shard,
which was not full, is written anew from its stored rows and the first new ones; the rest are new.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine import successor
from distillkit.engine.computing import computed, counted
from distillkit.engine.job import Job
from distillkit.engine.local import LocalEngine
from distillkit.engine.other_rows import changed_rows
from distillkit.errors import StoreError
from distillkit.recipe import differences
from distillkit.store.format.encode import stored
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.log import note_shard
from distillkit.store.format.maker import caller
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.plan import plan_at
from distillkit.store.format.replaced import beside
from distillkit.store.format.sameness import begun_with, recognised
from distillkit.store.reading.lookup import find
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.sound import lost, refuse_damage
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.stamps import blank, kept
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.lines import append_line
from distillkit.system.versions import versions
from distillkit.system.wording import count, rows_and_failed

_BLOCK = 65_536
# What may differ between the identity of a store and that of the same store, grown.
GROWS = ("rows: ", "plan: ", "source.duplicates: ")


@dataclass(frozen=True)
class Growth:
    """A plan whose first `kept` rows are those of a store that is there, in the store's order."""

    plan: pa.Table
    kept: int

    @property
    def new(self) -> int:
        return int(self.plan.num_rows) - self.kept


def growth(store: Path, plan: pa.Table) -> Growth | None:
    """How `plan` goes on from the store's own; None where there is none, or where a row of it is gone or another."""
    old = plan_at(store)
    if old is None:
        return None
    if plan.slice(0, old.num_rows).equals(old):
        return Growth(plan, old.num_rows)
    places = find(old["key"].combine_chunks(), plan["key"])
    for first in range(0, len(places), _BLOCK):
        block = places[first : first + _BLOCK]
        if (block < 0).any() or not plan.take(pa.array(block)).equals(old.slice(first, len(block))):
            return None
    new = np.ones(plan.num_rows, bool)
    new[places] = False
    return Growth(pa.concat_tables([old, plan.filter(pa.array(new))]), old.num_rows)


def append(job: Job, plan: pa.Table, duplicates: int, say: Say, made: dict[str, Any]) -> Path:
    """Extend the store of `job` by the rows of `plan` that it lacks. Rerunning continues.

    StoreError where more has changed than that there are more rows.
    """
    path = job.path
    grown = grown_by(path, plan, job.source.root)
    if not grown.new:
        successor.clear_away(path)
        say(f"{path}: the corpus has no new samples, nothing to do")
        return path
    old, writer = Manifest.read(path), grown_of(job, grown, duplicates)
    whole, rest = divmod(grown.kept, old.rows_per_shard)
    gone = lost(path, old)
    refuse_damage(path, old, [whole] if rest and not gone else [], cure="the same command again", beside=False)
    whole -= sum(shard < whole for shard in gone)
    say(
        f"{path}: {count(grown.new, 'new row')} behind {grown.kept}; "
        f"{count(whole, 'full shard')} of it {'stays as it is' if whole == 1 else 'stay as they are'}"
    )
    with Claims(path) as mine, Claims(writer.path) as claims:
        mine.take_all()
        claims.take_all()
        _fill(job, writer, old, gone, say, made)
        append_line(writer.path / LOG, {"appended": grown.new} | made)
        manifest = writer.finish(versions())
        told = successor.take_its_place(path, mine)
    rows = rows_and_failed(manifest.rows, manifest.skipped)
    say(f"{path}: complete, {rows}, digest {manifest.digest[:16]}; {told}")
    return path


def grown_by(path: Path, plan: pa.Table, root: str | Path | None) -> Growth:
    """How the store at `path` goes on to `plan`, whose images lie below `root`. StoreError where it cannot."""
    successor.refuse_a_bucket(path)
    Manifest.read(path)
    _refuse_another_root(path, root)
    grown = growth(path, plan)
    if grown is None:
        raise StoreError(f"{path}: {changed_rows(path, plan)}")
    return grown


def grown_of(job: Job, grown: Growth, duplicates: int) -> StoreWriter:
    """Who writes the grown store. StoreError where the recipe is another than that of the store of `job`."""
    path, before = job.path, begun_with(job.path) or {}
    asked = recognised(before, job.identity(duplicates))
    shard = Manifest.read(path).rows_per_shard
    writer = StoreWriter(beside(path), grown.plan, job.fields, shard, asked)
    changes = [line for line in differences(before, writer.identity) if not line.startswith(GROWS)]
    if changes:
        cure = f"undo that, or extract anew: {caller().begin} --overwrite"
        raise StoreError(f"{path}: {changes[0]}; only what the same recipe gives can be appended; {cure}")
    return writer


def _refuse_another_root(path: Path, root: str | Path | None) -> None:
    """First of all: of another folder everything may be another, also what number a class has."""
    before = begun_with(path) or {}
    was, now = before.get("source", {}).get("root"), None if root is None else str(root)
    if was != now:
        raise StoreError(
            f"{path}: its images lie below {was}, those of the recipe below {now}; put the new ones below the "
            "first, or make a store of theirs and one of both: distillkit store merge OUT STORE STORE"
        )


def _fill(job: Job, writer: StoreWriter, old: Manifest, gone: list[int], say: Say, made: dict[str, Any]) -> None:
    """Every shard that the grown store lacks: taken over, half taken over, or computed.

    So are those that the old one has lost, as its corpus is larger by now and no other command would do them again;
    then no row of it can be read, and the last shard is computed, too.
    """
    full, rest = divmod(old.rows, old.rows_per_shard)
    for shard in gone:
        say(f"{job.path}: shard {shard + 1} of {len(old.shards)} has lost files; it is extracted again")
    successor.begin(writer, job, set(range(full)) - set(gone))
    job = replace(job, steps=writer.steps)
    if rest and not gone and not writer.committed(full):
        _border(job, writer, full, rest, say, made)
    todo = [shard for shard in range(writer.shards) if not writer.committed(shard)]
    if todo:
        LocalEngine().run(job, writer, todo, say, made)


def _border(job: Job, writer: StoreWriter, number: int, rows: int, say: Say, made: dict[str, Any]) -> None:
    """The shard whose first rows are stored and whose others are new; a line of the log tells what these cost."""
    store, (first, stop) = FeatureStore(job.path), writer.span(number)
    mine = np.arange(first, first + rows)
    keys = dict(zip(store.values("key", mine), range(rows), strict=True))
    failures: list[Failure] = [
        (keys[line["key"]], line["stage"], line["error"]) for line in store.failures() if line["key"] in keys
    ]
    plan = writer.plan.slice(first + rows, stop - first - rows)
    with counted(job, plan.num_rows, say) as tell:
        (new,) = computed(job, {number: plan}, say, tell)
    arrays = {
        name: np.concatenate([stored(store.read(name, mine, raw=True), field), new.arrays[name]])
        for name, field in writer.fields.items()
    }
    failures += [(row + rows, stage, error) for row, stage, error in new.failures]
    clipped = Counter(store.manifest.shards[number].clipped) + Counter(new.clipped)
    stamps = kept(job.path, number, rows)
    stamps = np.concatenate([blank(rows) if stamps is None else stamps, new.stamps])
    line = new.cost.line(number, plan.num_rows, len({row for row, _, _ in new.failures}))
    note_shard(writer.path, {"more_of": line.pop("shard"), "behind": rows, **line} | made)
    writer.commit(number, arrays, failures, clipped, stamps)
