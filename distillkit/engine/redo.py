"""Images that were replaced by others under the same names: their rows alone are shown to the teachers again.

The other rows of their shards are taken over as they are stored, and the other shards are linked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine import successor
from distillkit.engine.changed import Looked, all_looked, told_of_gone
from distillkit.engine.computing import computed, counted
from distillkit.engine.job import Job
from distillkit.engine.retry import successor_of
from distillkit.engine.shard import Shard
from distillkit.errors import StoreError
from distillkit.store.format.encode import stored
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.sound import refuse_damage
from distillkit.store.writing import stamps as stamps_of
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.lines import append_line
from distillkit.system.versions import versions
from distillkit.system.wording import count

WHAT = "changed images"  # as refusals call what is done again


def redo(job: Job, plan: pa.Table, duplicates: int, say: Say, made: dict[str, Any]) -> Path:
    """Do the changed images of the store of `job` again. Rerunning continues.

    StoreError where recipe or corpus are others than its own.
    """
    path = job.path
    successor.refuse_a_bucket(path)
    old = Manifest.read(path)
    writer = successor_of(job, plan, duplicates, old, WHAT)
    with Claims(path) as mine, Claims(writer.path) as claims:
        mine.take_all()
        claims.take_all()
        todo, gone = _changed(job, writer, old, say)
        if gone:
            say(f"{path}: {told_of_gone(len(gone), gone[0])}")
        if not todo:
            successor.clear_away(path)
            say(f"{path}: no {'other ' if gone else ''}image has changed, nothing to do")
            return path
        refuse_damage(path, old, todo, beside=False)
        rows = sum(map(len, todo.values()))
        say(f"{path}: computing {count(rows, 'row')} again, in {len(todo)} of {count(writer.shards, 'shard')}")
        _take_back_what_changed_again(job, writer, say)
        successor.begin(writer, job, set(range(writer.shards)) - todo.keys())
        _do_again(replace(job, steps=writer.steps), writer, todo, say)
        append_line(writer.path / LOG, {"redone": rows} | made)
        manifest = writer.finish(versions())
        told = successor.take_its_place(path, mine)
    say(f"{path}: complete, {count(rows, 'row')} done again, digest {manifest.digest[:16]}; {told}")
    return path


def _changed(job: Job, writer: StoreWriter, old: Manifest, say: Say) -> tuple[dict[int, np.ndarray], list[str]]:
    """By shard its rows whose images are others now, and the images that nobody can look at. Of mere copies the new
    dates are kept: nobody reads them again.
    """
    todo, gone = {}, dict[str, None]()
    for shard, found in all_looked(job.path, job.source, writer.plan, old.rows_per_shard, say):
        if found.copied:
            _keep_dates(job.path, shard, old, found)
        if found.changed:
            todo[shard] = np.sort(np.concatenate(found.changed))
        first = writer.span(shard)[0]
        gone |= dict.fromkeys(writer.plan["image"][first + row].as_py() for row in sorted(one[0] for one in found.gone))
    return todo, list(gone)


def _keep_dates(store: Path, shard: int, old: Manifest, found: Looked) -> None:
    stamps = stamps_of.kept(store, shard, old.shards[shard].rows)
    assert stamps is not None  # where none are, none are compared
    for rows, now in found.copied:
        stamps[rows] = now
    stamps_of.keep(store, shard, stamps, partial(_refuse_another_store, store, old))


def _refuse_another_store(path: Path, old: Manifest) -> None:
    """A machine that slept has lost its claims on a file server, and another store may have taken this one's place."""
    if Manifest.read(path).digest != old.digest:
        raise StoreError(
            f"{path}: another store took its place meanwhile (was this machine asleep?); run the command again"
        )


def _take_back_what_changed_again(job: Job, writer: StoreWriter, say: Say) -> None:
    """A run that died may have done shards whose images have changed once more since, or changed back."""
    for shard, found in all_looked(writer.path, job.source, writer.plan, writer.rows_per_shard, say):
        if found.changed and writer.committed(shard):
            writer.forget(shard)


def _do_again(job: Job, writer: StoreWriter, todo: Mapping[int, np.ndarray], say: Say) -> None:
    """Each shard of which these rows have changed, unless a run that died has done it."""
    left = {shard: changed for shard, changed in todo.items() if not writer.committed(shard)}
    with counted(job, sum(map(len, left.values())), say) as tell:
        for number, changed in left.items():
            first, stop = writer.span(number)
            plan = writer.plan.slice(first, stop - first).take(pa.array(changed))
            (new,) = computed(job, {number: plan}, say, tell)
            _commit(job, writer, new, changed)


def _commit(job: Job, writer: StoreWriter, new: Shard, changed: np.ndarray) -> None:
    """A shard of whose rows these are new, and the others are as they are stored."""
    store, number = FeatureStore(job.path), new.number
    first, stop = writer.span(number)
    arrays = {}
    for name, field in writer.fields.items():
        arrays[name] = np.array(stored(store.read(name, np.arange(first, stop), raw=True), field))
        arrays[name][changed] = new.arrays[name]
    keys = dict(zip(store.values("key", np.arange(first, stop)), range(stop - first), strict=True))
    failures: list[Failure] = [
        (keys[line["key"]], line["stage"], line["error"]) for line in store.failures() if line["key"] in keys
    ]
    failures = [one for one in failures if one[0] not in set(changed.tolist())]
    failures += [(int(changed[row]), stage, error) for row, stage, error in new.failures]
    stamps = stamps_of.kept(job.path, number, stop - first)
    assert stamps is not None  # by which they were found
    stamps[changed] = new.stamps
    clipped = Counter(store.manifest.shards[number].clipped) + Counter(new.clipped)
    writer.commit(number, arrays, failures, clipped, stamps)
