"""Samples that failed and may be read now, as after damaged images were replaced: only their shards are computed again.

What comes of it is what an extraction of the mended corpus would give, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine import successor
from distillkit.engine.append import growth
from distillkit.engine.job import Job
from distillkit.engine.local import LocalEngine
from distillkit.engine.other_rows import changed_rows
from distillkit.errors import StoreError
from distillkit.recipe import differences
from distillkit.store.format.maker import caller
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.replaced import beside
from distillkit.store.format.sameness import begun_with, recognised
from distillkit.store.upkeep.sound import refuse_damage
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.versions import versions
from distillkit.system.wording import count

WHAT = "failures"  # as refusals call what is tried again


def retry(job: Job, plan: pa.Table, duplicates: int, say: Say, made: dict[str, Any]) -> Path:
    """Compute the shards with failures of the store of `job` again. Rerunning continues.

    The store stays as it is if no fewer rows fail. StoreError where recipe or corpus are others than its own.
    """
    path = job.path
    successor.refuse_a_bucket(path)
    old = Manifest.read(path)
    failed = failed_shards(old)
    if not failed:
        successor.clear_away(path)
        say(f"{path}: no row has failed, nothing to do")
        return path
    writer = successor_of(job, plan, duplicates, old, WHAT)
    refuse_damage(path, old, [], beside=False)
    say(
        f"{path}: {count(old.skipped, 'row')} failed before; computing {len(failed):,} of "
        f"{count(writer.shards, 'shard')} again"
    )
    with Claims(path) as mine, Claims(writer.path) as claims:
        mine.take_all()
        claims.take_all()
        successor.begin(writer, job, set(range(writer.shards)) - set(failed))
        for shard in failed:
            record = writer.told(shard) if writer.committed(shard) else None
            if record is not None and record.ok < record.rows:
                writer.forget(shard)  # of a run that died; what failed then may be mended by now
        todo = [shard for shard in failed if not writer.committed(shard)]
        if todo:
            LocalEngine().run(replace(job, steps=writer.steps), writer, todo, say, made)
        manifest = writer.finish(versions())
        if manifest.skipped >= old.skipped:
            successor.drop(path)
            say(f"{path}: {count(manifest.skipped, 'row')} fail as before; the store stays as it is")
            return path
        told = successor.take_its_place(path, mine)
    mended = old.skipped - manifest.skipped
    say(
        f"{path}: complete, {mended:,} of {count(old.skipped, 'failed row')} mended, "
        f"digest {manifest.digest[:16]}; {told}"
    )
    return path


def failed_shards(store: Manifest) -> list[int]:
    """Those of which not every row is there."""
    return [number for number, shard in enumerate(store.shards) if shard.ok < shard.rows]


def same_rows(path: Path, plan: pa.Table) -> pa.Table:
    """`plan` as the store at `path` has it. StoreError where the corpus is another than the store's."""
    grown = growth(path, plan)
    if grown is None:
        raise StoreError(f"{path}: {changed_rows(path, plan)}")
    if grown.new:
        raise StoreError(f"{path}: the corpus has {count(grown.new, 'more sample')} now; run first: {caller().append}")
    return grown.plan


def successor_of(job: Job, plan: pa.Table, duplicates: int, old: Manifest, what: str) -> StoreWriter:
    """Who writes a store of the same rows, by the same recipe, in which `what` is made anew.

    StoreError where recipe or corpus are others than those of the store of `job`.
    """
    path, rows = job.path, same_rows(job.path, plan)
    before = begun_with(path) or {}
    asked = recognised(before, job.identity(duplicates))
    writer = StoreWriter(beside(path), rows, job.fields, old.rows_per_shard, asked)
    changes = differences(before, writer.identity)
    if changes:
        raise StoreError(
            f"{path}: {changes[0]}; only what the same recipe gives can take the place of {what}; undo that"
        )
    return writer
