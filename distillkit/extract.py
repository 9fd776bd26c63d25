"""Stage 1, top to bottom: a corpus is planned, its shards are shown to the frozen teachers, and each is committed.

    distillkit extract-teacher pipelines/extract/demo.toml

Rerunning continues after the last committed shard; a finished store is left alone. What is committed makes way for
another recipe only where that is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distillkit.callable import Say, make_callable, silent
from distillkit.engine import estimate
from distillkit.engine.alike import told_of_alike
from distillkit.engine.corpus import extract_corpus, stands, with_classes
from distillkit.engine.early import refuse_taken, refuse_unfit
from distillkit.engine.failed import judge
from distillkit.engine.going_on import refuse_another, refuse_to_go_on
from distillkit.engine.job import Job, Teacher, fields_asked, store_at
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
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.claims import Part
from distillkit.system import cpu
from distillkit.system.machine import machine
from distillkit.system.paths import expand
from distillkit.system.wording import count

if TYPE_CHECKING:
    from distillkit.engine.corpus import Engine

Instead = Callable[[Job, pa.Table, int, Say, dict[str, Any]], Path]


@cpu.settled()
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
    recipe = _ready(recipe, overrides, only)
    out, smaller, part = workplace(expand(recipe.out)), allow_smaller or instead is not None, part or Part()
    # Elsewhere, teachers are where their workers are.
    outlined = refuse_unfit(recipe, out) if engine == "local" else [None for _ in recipe.corpora]
    for corpus in recipe.corpora:
        recover(store_at(out, corpus))
    plans = [planned(corpus, store_at(out, corpus), say, smaller) for corpus in recipe.corpora]
    for corpus, plan, job in zip(recipe.corpora, plans, outlined, strict=True):
        refuse_taken(store_at(out, corpus), plan, job, part, again=instead is not None)
    for corpus, plan, job in zip(recipe.corpora, plans, outlined, strict=True):
        if instead:
            refuse_to_go_on(instead, store_at(out, corpus), plan, job)
        elif job and not overwrite:
            refuse_another(job, plan, allow_smaller)
    run = _engine(engine, recipe)
    with run.running():
        jobs = _jobs(recipe, out, run.teachers(recipe.by_alias, say))
        made = {"command": command, "machine": machine()}
        if instead:
            tasks = [partial(_go_on, instead, job, plan, say, made) for job, plan in zip(jobs, plans, strict=True)]
        else:
            plans = [in_its_order(job, plan) for job, plan in zip(jobs, plans, strict=True)]
            found = _places(jobs, plans, say, allow_smaller, overwrite)
            tasks = [
                partial(extract_corpus, run, job.path, at, plan, part, say, made)
                for job, at, plan in zip(jobs, found, plans, strict=True)
            ]
        written = [with_classes(task, job, plan) for task, job, plan in zip(tasks, jobs, plans, strict=True)]
    for path, job, plan in zip(written, jobs, plans, strict=True):
        judge(path, job, plan.rows, say, look=instead is None)
        if (job.path / FILE_NAME).is_file():  # other parts may be to come
            for line in told_of_alike(FeatureStore(job.path)):
                say(line)
    return [job.path for job in jobs]


@cpu.settled()
def plan(
    recipe: ExtractRecipe | str | Path, say: Say = silent, *, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> list[str]:
    """What `extract` would take here, line by line: every store is left as it is, and none is begun.

    A store that is complete takes nothing; where one would have to make way, that is told.
    """
    recipe = _ready(recipe, overrides, only)
    out, engine, lines = workplace(expand(recipe.out)), LocalEngine(), list[str]()
    whole: list[estimate.Estimate] = []
    refuse_unfit(recipe, out)
    for corpus in recipe.corpora:
        recover(store_at(out, corpus))  # else it would be planned as one that nobody has begun
    plans = [planned(corpus, store_at(out, corpus), say) for corpus in recipe.corpora]
    for corpus, one in zip(recipe.corpora, plans, strict=True):
        if one.repeated:
            say(f"{store_at(out, corpus)}: {one.repeated}")
    jobs = _jobs(recipe, out, engine.teachers(recipe.by_alias, say))
    wanted = [
        place for job, plan in zip(jobs, plans, strict=True) for place in places(job, in_its_order(job, plan), say)
    ]
    for job, writer in wanted:
        rows = writer.plan
        if stands(writer) and not writer.damaged():
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


def _ready(recipe: ExtractRecipe | str | Path, overrides: Sequence[str], only: Sequence[str]) -> ExtractRecipe:
    """The recipe, with the corpora that are meant; this process computes within the memory that it allows."""
    if not isinstance(recipe, ExtractRecipe):
        recipe = load(recipe, list(overrides), kind=ExtractRecipe)
    recipe = recipe.only(only)
    room.limit_to(memory_bytes(recipe.memory) if recipe.memory else None)
    return recipe


def _engine(name: str, recipe: ExtractRecipe) -> Engine:
    if name == "local":
        return LocalEngine()
    from distillkit.engine.ray import RayEngine

    return RayEngine(recipe.ray)


def _jobs(recipe: ExtractRecipe, out: Path, teachers: Mapping[str, Teacher]) -> list[Job]:
    """What each corpus is asked for; StoreError for what the teachers do not give."""
    return [
        Job(store_at(out, corpus), corpus, teachers, fields_asked(corpus, teachers), recipe.decoders, recipe.decode)
        for corpus in recipe.corpora
    ]


def _go_on(instead: Instead, job: Job, plan: Planned, say: Say, made: dict[str, Any]) -> Path:
    """Append to the store of a corpus, or retry or redo a part of it; returns where it is."""
    job = replace(job, classes=plan.classes, losses=plan.losses)
    return instead(job, plan.rows, plan.duplicates, say, made | plan.log)


def _places(
    jobs: Sequence[Job], plans: Sequence[Planned], say: Say, allow_smaller: bool, overwrite: bool
) -> list[list[Place]]:
    """Where each corpus is written. StoreError, before the first takes its hours, where one would set rows aside."""
    found = [places(job, plan, say) for job, plan in zip(jobs, plans, strict=True)]
    for place in () if overwrite else chain(*found):
        refuse_to_redo(*place, allow_smaller)
    return found


make_callable(__name__)
