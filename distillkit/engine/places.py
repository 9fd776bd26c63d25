"""Where a job is written: the store that is there, an addition to it, or a new one; and what is not done unasked.

A store that is there and is not the one that the recipe means now would be set aside and made anew, which takes hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distillkit.callable import Say
from distillkit.engine.append import GROWS, growth
from distillkit.engine.cost import duration
from distillkit.engine.job import Job
from distillkit.engine.other_rows import lost_rows, other_rows
from distillkit.engine.planning import Planned
from distillkit.errors import StoreError
from distillkit.store.format.layout import check_rows_per_shard
from distillkit.store.format.log import logged
from distillkit.store.format.maker import caller
from distillkit.store.format.sameness import changes, other_teacher
from distillkit.store.reading.additions import ROWS, teachers_to_add
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.unfinished import begun_of
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.wording import count, pace

Place = tuple[Job, StoreWriter]


def in_its_order(job: Job, planned: Planned) -> Planned:
    """The rows as the store has them, where it has the same ones."""
    grown = growth(job.path, planned.rows)
    return replace(planned, rows=grown.plan) if grown and not grown.new else planned


def places(job: Job, planned: Planned, say: Say) -> list[Place]:
    """The job and its writer; where a finished store lacks nothing but some teachers, these are added beside it.

    Before them comes the store itself, if some of its files are lost. None where each of them is there, under other
    names.
    """

    def placed(job: Job) -> Place:
        return job, writer_of(job, planned, say)

    _, writer = placed(job)
    before = writer.previous_identity()
    new = teachers_to_add(before, writer.identity) if before is not None and writer.finished() else []
    if not new:
        return [(job, writer)]
    twins = _twins(job, new)
    for alias, other in twins.items():
        say(
            f"{job.path}: has this teacher, {alias!r}, with these fields already, as {other!r}; nothing to do, train "
            f"with data.teacher = {other!r}"
        )
    new = [alias for alias in new if alias not in twins]
    if not new and all(alias in twins for alias, _ in job.asked):
        return []
    if not new:
        return places(job.only([alias for alias, _ in job.asked if alias not in twins]), planned, say)
    say(
        f"{job.path}: stays as it is, {' and '.join(new)} added to it; train with data.teacher = {new[0]!r}, or with "
        "several (data.also)"
    )
    old = [alias for alias, _ in job.asked if alias not in (*new, *twins)]
    kept = [placed(job.only(old))] if old else []
    return [*((base, own) for base, own in kept if own.identity == before and own.damaged()), placed(job.beside(new))]


def _twins(job: Job, new: Sequence[str]) -> dict[str, str]:
    """Which of these teachers are in the finished store under other names, with all that they are asked for: by the new
    name, the old one. None of them where an addition under the new names was begun before: that one goes on.
    """
    if job.beside(new).path.exists():
        return {}
    store, found = FeatureStore(job.path), dict[str, str]()
    for alias in new:
        asked = {name: job.fields[f"{alias}/{name}"] for one, name in job.asked if one == alias}
        for other, facts in store.teachers.items():
            same = other_teacher(facts, job.teachers[alias].fingerprint) is None and all(
                store.fields.get(f"{other}/{name}") == field.model_copy(update={"teacher": other})
                for name, field in asked.items()
            )
            if same and alias not in store.teachers:
                found.setdefault(alias, other)
    return found


def writer_of(job: Job, planned: Planned, say: Say) -> StoreWriter:
    """How a store is cut into shards changes no row: what was begun goes on as it was cut."""

    def cut(rows_per_shard: int) -> StoreWriter:
        return StoreWriter(job.path, planned.rows, job.fields, rows_per_shard, job.identity(planned.duplicates))

    writer = cut(job.rows_per_shard)
    before = writer.previous_identity()
    if before is None or before.get("rows_per_shard") == job.rows_per_shard:
        return writer
    own = before["rows_per_shard"]
    try:
        check_rows_per_shard(own, *job.fields.values())
    except StoreError:
        return writer  # cut for other fields
    as_it_is = cut(own)
    if as_it_is.identity != before:
        return writer
    if job.corpus.rows_per_shard is not None:
        say(f"{job.path}: keeps its rows_per_shard = {own}, which it was begun with")
    return as_it_is


def refuse_to_redo(job: Job, writer: StoreWriter, allow_smaller: bool) -> None:
    """StoreError where rows that are committed, or kept of a shard in hand, would be set aside: what differs, and what
    it would cost.

    `allow_smaller`: but not where all that differs is that there are other rows.
    """
    before = writer.previous_identity()
    if before is None or before == writer.identity:
        return
    if not any((writer.path / "commits").glob("*.json")) and not begun_of(writer.path)[0]:
        return
    new, apart = other_base(before, writer.identity)
    found = apart or changes(before, writer.identity)
    rows_alone = all(line.startswith(GROWS) for line in found)  # append takes nothing else
    if allow_smaller and rows_alone:
        return
    others = other_rows(writer.path, writer.plan) if rows_alone else None
    others = others or (lost_rows(writer.path, writer.plan) if apart else None)
    what = others or found[0] + (f" (and {len(found) - 1} more)" if found[1:] else "")
    what += f", so {' and '.join(new)} cannot be added to it" if apart else ""
    rows = writer.plan.num_rows
    grown = growth(job.path, writer.plan) if writer.finished() else None
    asked = caller()
    append = (
        f"keep them and compute {grown.new} more with `{asked.append.removesuffix(' RECIPE')}`, "
        if rows_alone and grown and grown.new
        else ""
    )
    anew = f"{count(rows, 'row')}{_time(writer, rows)}"
    raise StoreError(
        f"{writer.path}: {what}; to extract anew means {anew}. Nothing was touched: {append}undo the change, "
        f"{asked.elsewhere}, or add --overwrite, which keeps the old store beside it"
    )


def other_base(before: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Where a store is asked for other teachers than it has: these, and what keeps them from being added to it."""
    new = [alias for alias in now["teachers"] if alias not in before.get("teachers", {})]
    both = [{name: identity.get(name) for name in ROWS} for identity in (before, now)]
    return new, changes(*both) if len(new) == len(now["teachers"]) else []


def _time(writer: StoreWriter, rows: int) -> str:
    """What they would take, if they take what the shard before took, or what is kept of the first; else nothing."""
    lines = [line for line in logged(writer.path) if line.get("seconds") and line.get("rows")]
    done, seconds = (lines[-1]["rows"], lines[-1]["seconds"]) if lines else begun_of(writer.path)
    if not (done and seconds):
        return ""
    told = "that its log tells" if lines else f"of the {done:,} that are kept of it"
    return f", {duration(rows * seconds / done)} at the {pace(done / seconds)} {told}"
