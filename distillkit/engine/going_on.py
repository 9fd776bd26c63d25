"""Why a store that is there cannot go on with this corpus and recipe, as far as it takes no teacher's weights to say.

What depends on the weights is refused when they are loaded; nothing else should have to wait for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillkit.callable import silent
from distillkit.engine import redo, retry, successor
from distillkit.engine.append import append, grown_by, grown_of
from distillkit.engine.job import Job, Teacher
from distillkit.engine.places import in_its_order, other_base, places, refuse_to_redo, writer_of
from distillkit.engine.planning import Planned
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.sameness import begun_with


def refuse_to_go_on(instead: Callable[..., Any], path: Path, plan: Planned, job: Job | None) -> None:
    """StoreError for what `instead` (`append`, `retry` or `redo`) would refuse of the store at `path`.

    `job`: of teachers without weights; None where what they give is not known yet.
    """
    job = _as_its_teachers(job) if job else None
    if instead is append:
        grown = grown_by(path, plan.rows, plan.root)
        if job and grown.new:
            grown_of(job, grown, plan.duplicates)
        return
    successor.refuse_a_bucket(path)
    old = Manifest.read(path)
    if instead is retry.retry and not retry.failed_shards(old):
        return  # there is nothing to do, whatever the corpus is by now
    if job:
        what = retry.WHAT if instead is retry.retry else redo.WHAT
        retry.successor_of(job, plan.rows, plan.duplicates, old, what)
    else:
        retry.same_rows(path, plan.rows)


def refuse_another(job: Job, plan: Planned, allow_smaller: bool) -> None:
    """StoreError where an extraction would set rows aside, whatever weights its teachers turn out to have.

    `job`: of teachers without weights.
    """
    before = begun_with(job.path) or {}
    known, job = before.get("teachers", {}).keys(), _as_its_teachers(job)
    if not {alias for alias, _ in job.asked} <= known:
        # Teachers may be added, or be there under other names: their weights say, unless the rows are other ones.
        writer = writer_of(job, in_its_order(job, plan), silent)
        if before and writer.finished() and other_base(before, writer.identity)[1]:
            refuse_to_redo(job, writer, allow_smaller)
        return
    for place in places(job, in_its_order(job, plan), silent):
        refuse_to_redo(*place, allow_smaller)


def _as_its_teachers(job: Job) -> Job:
    """With the records that the store has of teachers of these names, so that nothing that is compared is theirs."""
    known = (begun_with(job.path) or {}).get("teachers", {})
    return replace(
        job, teachers={alias: Teacher(one.network, known.get(alias, {})) for alias, one in job.teachers.items()}
    )
