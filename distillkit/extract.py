"""Stage 1, top to bottom: a corpus is planned, its shards are shown to the frozen teachers, and each is committed.

    distillkit extract-teacher pipelines/extract/demo.toml

Rerunning continues after the last committed shard; a finished store is left alone. What is committed makes way for
another recipe only where that is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distillkit.callable import make_callable, silent
from distillkit.engine import estimate
from distillkit.engine.alike import told_of_alike
from distillkit.engine.changed import told_of_changes
from distillkit.engine.early import refuse_taken, refuse_unfit
from distillkit.engine.failed import judge
from distillkit.engine.job import Job, Teacher, fields_asked
from distillkit.engine.local import LocalEngine
from distillkit.engine.places import Place, in_its_order, places, refuse_to_redo
from distillkit.engine.planning import Planned, planned
from distillkit.engine.probe import probe
from distillkit.engine.shown import told_of_cuts
from distillkit.engine.successor import recover
from distillkit.errors import StoreError
from distillkit.pixels import room
from distillkit.recipe import ExtractRecipe, load, memory_bytes
from distillkit.store.bucket.remote import workplace
from distillkit.store.format.classes import write_classes
from distillkit.store.format.losses import write_losses
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.format.sameness import changes
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.claims import Claims, Part
from distillkit.store.writing.writer import StoreWriter
from distillkit.system import cpu
from distillkit.system.machine import machine
from distillkit.system.paths import expand
from distillkit.system.versions import versions
from distillkit.system.wording import count

if TYPE_CHECKING:
    from distillkit.engine.ray import RayEngine

    Engine = LocalEngine | RayEngine

Say = Callable[[str], None]
Instead = Callable[[Job, pa.Table, int, Say, dict[str, Any]], Path]


def extract(
    recipe: ExtractRecipe | str | Path,
    say: Say = silent,
    command: str | None = None,
    part: Part | None = None,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    instead: Instead | None = None,
    engine: str = "local",
    allow_smaller: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Every corpus of the recipe as a store; returns their folders. StoreError when too many samples failed.

    `recipe` may be a file, with `overrides` such as 'out="stores/mine"'. `command` is kept beside the measured costs,
    so that a report can say how to make this again. `part`: one of several runs that share the work; whoever commits a
    store's last shard completes it. `instead` of extracting: `append`, and a store whose corpus grew goes on where it
    ended; `retry`, and what failed is tried again; or `redo`, and images whose files changed are done again. `engine`:
    "local", or "ray". `allow_smaller`: finished stores may be set aside because their corpus has fewer rows now;
    `overwrite`: stores of another recipe or corpus, too. `only`: of the corpora these, by name.
    """
    if not isinstance(recipe, ExtractRecipe):
        recipe = load(recipe, list(overrides), kind=ExtractRecipe)
    recipe = recipe.only(only)
    cpu.settle()
    room.limit_to(memory_bytes(recipe.memory) if recipe.memory else None)
    out, smaller, part = workplace(expand(recipe.out)), allow_smaller or instead is not None, part or Part()
    if engine == "local":  # elsewhere, teachers are where their workers are
        refuse_unfit(recipe, out)
    plans = [planned(corpus, out / corpus.name, say, smaller) for corpus in recipe.corpora]
    refuse_taken([out / corpus.name for corpus in recipe.corpora], part, again=instead is not None)
    run = _engine(engine, recipe)
    with run.running():
        jobs = _jobs(recipe, out, run.teachers(recipe.by_alias, say))
        made = {"command": command, "machine": machine()}
        for job in jobs:
            recover(job.path)
        if instead:
            begun: list[Callable[[], Path]] = [
                partial(instead, job, plan.rows, plan.duplicates, say, made | plan.log)
                for job, plan in zip(jobs, plans, strict=True)
            ]
        else:
            plans = [in_its_order(job, plan) for job, plan in zip(jobs, plans, strict=True)]
            found = [places(job, plan, say) for job, plan in zip(jobs, plans, strict=True)]
            for place in () if overwrite else chain(*found):  # all of them, before the first takes its hours
                refuse_to_redo(*place, allow_smaller)
            begun = [
                partial(_extract_corpus, run, at, plan, part, say, made) for at, plan in zip(found, plans, strict=True)
            ]
        written = [_written(one, job, plan) for one, job, plan in zip(begun, jobs, plans, strict=True)]
    for path, job in zip(written, jobs, strict=True):
        judge(path, job.corpus, say)
        if (job.path / FILE_NAME).is_file():  # other parts may be to come
            for line in told_of_alike(FeatureStore(job.path)):
                say(line)
    return [job.path for job in jobs]


def plan(
    recipe: ExtractRecipe | str | Path, say: Say = silent, *, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> list[str]:
    """What `extract` would take here, line by line: every store is left as it is, and none is begun.

    A store that is complete takes nothing; where one would have to make way, that is told.
    """
    if not isinstance(recipe, ExtractRecipe):
        recipe = load(recipe, list(overrides), kind=ExtractRecipe)
    recipe = recipe.only(only)
    cpu.settle()
    room.limit_to(memory_bytes(recipe.memory) if recipe.memory else None)
    out, engine, lines = workplace(expand(recipe.out)), LocalEngine(), list[str]()
    whole: list[estimate.Estimate] = []
    refuse_unfit(recipe, out)
    plans = [planned(corpus, out / corpus.name, say) for corpus in recipe.corpora]
    jobs = _jobs(recipe, out, engine.teachers(recipe.by_alias, say))
    wanted = [
        place for job, plan in zip(jobs, plans, strict=True) for place in places(job, in_its_order(job, plan), say)
    ]
    for job, writer in wanted:
        rows = writer.plan
        if _stands(writer) and not writer.damaged():
            lines.append(f"{writer.path}: already complete ({count(rows.num_rows, 'row')}), nothing to do")
            continue
        try:
            refuse_to_redo(job, writer, False)
        except StoreError as error:
            say(str(error))
        folder = estimate.existing(job.path)
        free = shutil.disk_usage(folder).free
        for line in (*estimate.warnings(job, rows.num_rows, free), *told_of_cuts(job, rows)):
            say(line)
        probed = probe(job, rows, folder)
        lines += estimate.report(job, rows.num_rows, probed, free)
        whole.append(estimate.estimate(job, rows.num_rows, probed))
    return [*lines, estimate.together(whole)] if len(whole) > 1 else lines


def _engine(name: str, recipe: ExtractRecipe) -> Engine:
    if name == "local":
        return LocalEngine()
    from distillkit.engine.ray import RayEngine

    return RayEngine(recipe.ray)


def _jobs(recipe: ExtractRecipe, out: Path, teachers: Mapping[str, Teacher]) -> list[Job]:
    """What each corpus is asked for; StoreError for what the teachers do not give."""
    return [
        Job(out / corpus.name, corpus, teachers, fields_asked(corpus, teachers), recipe.decoders, recipe.decode)
        for corpus in recipe.corpora
    ]


def _written(write: Callable[[], Path], job: Job, planned: Planned) -> Path:
    """A corpus, and its classes at once: who is killed in the next one has a store with its names."""
    path = write()
    if planned.classes and job.path.is_dir():
        write_classes(job.path, planned.classes)
    return path


def _extract_corpus(
    run: Engine, found: list[Place], planned: Planned, part: Part, say: Say, made: dict[str, Any]
) -> Path:
    """One corpus: run what is not committed yet, finish with the manifest. `made` goes into the log.

    Returns where it was written: the store, or an addition to it.
    """
    for job, writer in found:
        _fill(run, job, writer, part, planned, say, made | planned.log)
    return found[-1][1].path


def _fill(
    run: Engine, job: Job, writer: StoreWriter, part: Part, planned: Planned, say: Say, made: dict[str, Any]
) -> None:
    """Compute and commit what a store, or an addition to one, lacks."""
    for line in estimate.warnings(job, writer.plan.num_rows, shutil.disk_usage(estimate.existing(job.path)).free):
        say(line)
    stood = _stands(writer)
    with Claims(job.path) as claims:
        with claims.beginning_or_end():
            shards = _begin(run, job, writer, claims, part, planned, say)
        if any(True for _ in islice(shards, 1)):
            for line in told_of_cuts(job, writer.plan):
                say(line)
            run.run(replace(job, steps=writer.steps), writer, shards, say, made)
        with claims.beginning_or_end():
            _end(writer, part, say)
    for line in told_of_changes(writer.path, job.source, writer.plan, writer.rows_per_shard) if stood else ():
        say(line)


def _stands(writer: StoreWriter) -> bool:
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
        aside = writer.set_aside()
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        say(f"{path}: {found[0]}{more}; extracting anew, the old store is now {aside}")
    for shard in writer.mend():
        say(f"{path}: shard {shard + 1} of {writer.shards} has lost files; it is extracted again")
    if writer.finished():
        say(f"{path}: already complete ({count(writer.plan.num_rows, 'row')}), nothing to do")
        return []
    if writer.previous_identity() is None:
        writer.steps = run.measured(job, writer.plan, say)
    writer.begin(alone=idle)
    if planned.losses:
        write_losses(path, planned.losses)
    if planned.duplicates:
        say(f"{path}: left out {count(planned.duplicates, 'sample')} whose key had come before")
    mine = claims.leased(part.shards(writer.shards), partial(_done, writer))
    done = sum(writer.committed(shard) for shard in range(writer.shards))
    told = f", part {part} is {len(part.shards(writer.shards))} of them" if part.of > 1 else ""
    say(
        f"{path}: {count(writer.plan.num_rows, 'row')} in {count(writer.shards, 'shard')}{told}"
        + (f", {done} already committed" if done else "")
    )
    return mine


def _done(writer: StoreWriter, shard: int) -> bool:
    """Whether a shard is committed by now, by whomever."""
    writer.refresh()
    return writer.committed(shard)


def _end(writer: StoreWriter, part: Part, say: Say) -> None:
    """Whoever commits the last shard writes the manifest."""
    writer.refresh()
    if writer.finished():
        return
    missing = sum(not writer.committed(shard) for shard in range(writer.shards))
    if missing:
        whose = f"part {part} is done, " if part.of > 1 else ""
        say(f"{writer.path}: {whose}{missing} of {count(writer.shards, 'shard')} are to come from others")
        return
    manifest = writer.finish(versions())
    say(f"{writer.path}: complete, {count(manifest.rows - manifest.skipped, 'row')}, digest {manifest.digest[:16]}")


make_callable(__name__)
