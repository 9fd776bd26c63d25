"""One corpus into its store, and into additions to it: begun, run, ended; and what is told on the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillkit.callable import Say
from distillkit.engine import estimate
from distillkit.engine.changed import told_of_changes
from distillkit.engine.job import Job
from distillkit.engine.local import LocalEngine
from distillkit.engine.places import Place
from distillkit.engine.planning import Planned
from distillkit.engine.shown import told_of_cuts
from distillkit.errors import StoreError
from distillkit.store.format.classes import write_classes
from distillkit.store.format.log import note_command
from distillkit.store.format.losses import write_losses
from distillkit.store.format.sameness import changes
from distillkit.store.writing.beside import keep_classes
from distillkit.store.writing.claims import Claims, Part
from distillkit.store.writing.steps import lost
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.versions import versions
from distillkit.system.wording import count, rows_and_failed

if TYPE_CHECKING:
    from distillkit.engine.ray import RayEngine

    Engine = LocalEngine | RayEngine


def with_classes(write: Callable[[], Path], job: Job, planned: Planned) -> Path:
    """A corpus, and its classes where its store was complete before, or is none yet: any other has them already."""
    path = write()
    if planned.classes and job.path.is_dir():
        keep_classes(job.path, planned.classes)
    return path


def extract_corpus(
    run: Engine, store: Path, found: list[Place], planned: Planned, part: Part, say: Say, made: dict[str, Any]
) -> Path:
    """One corpus: run what is not committed yet, finish with the manifest. `made` goes into the log.

    Returns where it was written: the `store`, or an addition to it.
    """
    for job, writer in found:
        fill(run, job, writer, part, planned, say, made | planned.log)
    return found[-1][1].path if found else store


def fill(
    run: Engine, job: Job, writer: StoreWriter, part: Part, planned: Planned, say: Say, made: dict[str, Any]
) -> None:
    """Compute and commit what a store, or an addition to one, lacks."""
    for line in estimate.warnings(job, writer.plan.num_rows, shutil.disk_usage(estimate.existing(job.path)).free):
        say(line)
    stood = stands(writer)
    with Claims(job.path) as claims:
        with claims.beginning_or_end():
            shards = _begin(run, job, writer, claims, part, planned, say)
        if any(True for _ in islice(shards, 1)):
            note_command(writer.path, made.get("command"))
            for line in told_of_cuts(job, writer.plan):
                say(line)
            run.run(replace(job, steps=writer.steps), writer, shards, say, made)
        with claims.beginning_or_end():
            _end(writer, part, say, planned.classes if writer.path == job.path and not job.adds else {})
    for line in told_of_changes(writer.path, job.source, writer.plan, writer.rows_per_shard, say) if stood else ():
        say(line)


def stands(writer: StoreWriter) -> bool:
    """Whether the very store that is asked for was finished before."""
    return writer.finished() and writer.previous_identity() == writer.identity


def _begin(
    run: Engine, job: Job, writer: StoreWriter, claims: Claims, part: Part, planned: Planned, say: Say
) -> Iterable[int]:
    """Make the store's folder ready; what another identity left is set aside. Returns the shards that we do: each is
    claimed when its turn comes."""
    writer.refresh()
    path, before, idle = writer.path, writer.previous_identity(), claims.idle()
    if before is not None and before != writer.identity:
        found = changes(before, writer.identity)
        if not idle:
            raise StoreError(f"{path}: another process is extracting here, with another recipe ({found[0]}); stop it")
        claims.refuse_moving()
        aside = writer.set_aside()
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        say(f"{path}: {found[0]}{more}; extracting anew, the old store is now {aside}")
    _measure(run, job, writer, say)
    for shard in writer.mend():
        say(f"{path}: shard {shard + 1} of {writer.shards} has lost files or is damaged; it is extracted again")
    if writer.finished():
        if idle:
            writer.tidy()
        say(f"{path}: already complete ({count(writer.plan.num_rows, 'row')}), nothing to do")
        return []
    writer.begin(alone=idle)
    if planned.losses:
        write_losses(path, planned.losses)
    if planned.repeated:
        say(f"{path}: {planned.repeated}")
    mine = claims.leased(part.shards(writer.shards), partial(_done, writer))
    done = sum(writer.committed(shard) for shard in range(writer.shards))
    told = f", {len(part.shards(writer.shards))} of them in part {part}" if part.of > 1 else ""
    say(
        f"{path}: {count(writer.plan.num_rows, 'row')} in {count(writer.shards, 'shard')}{told}"
        + (f", {done} already committed" if done else "")
    )
    return mine


def _measure(run: Engine, job: Job, writer: StoreWriter, say: Say) -> None:
    """What the numbers of int8 fields mean; of a store that was begun only where that is lost, and the same again."""
    if writer.previous_identity() is None:
        writer.steps = run.measured(job, writer.plan, say)
    elif gone := lost(writer.path, writer.fields):
        say(f"{writer.path}: what the numbers of {', '.join(gone)} mean is lost or damaged; measured again")
        writer.steps = run.measured(job, writer.plan, say)
        writer.begin(alone=False)


def _done(writer: StoreWriter, shard: int) -> bool:
    """Whether a shard is committed by now, by whomever."""
    writer.refresh()
    return writer.committed(shard)


def _end(writer: StoreWriter, part: Part, say: Say, classes: Mapping[str, int]) -> None:
    """Whoever commits the last shard writes the manifest; before it the classes, so that no store is without them."""
    writer.refresh()
    writer.refuse_another_store()
    if writer.finished():
        return
    missing = sum(not writer.committed(shard) for shard in range(writer.shards))
    if missing:
        whose = f"part {part} is done, " if part.of > 1 else ""
        say(f"{writer.path}: {whose}{missing} of {count(writer.shards, 'shard')} left to other processes")
        return
    if classes:
        write_classes(writer.path, classes)
    manifest = writer.finish(versions())
    told = rows_and_failed(manifest.rows, manifest.skipped)
    say(f"{writer.path}: complete, {told}, digest {manifest.digest[:16]}")
