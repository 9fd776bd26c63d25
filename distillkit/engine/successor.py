"""A store that is made beside another one, and takes its place when it is whole. What both have is on the disk once.

The old store is set aside under another name. No file of it is changed, so it stays what it was.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from distillkit.engine.job import Job
from distillkit.errors import StoreError
from distillkit.store.bucket.remote import origin
from distillkit.store.format.classes import write_classes
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.losses import write_losses
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.replaced import beside, between
from distillkit.store.format.sameness import begun_with
from distillkit.store.format.steps import steps_of
from distillkit.store.reading.additions import FOLDER
from distillkit.store.writing.adopt import adopt
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import atomic_file, or_undone, set_aside, sync
from distillkit.system.clearing import remove_tree
from distillkit.system.record import digest
from distillkit.system.temporary import tidy, tidy_below


def refuse_a_bucket(path: Path) -> None:
    there = origin(path)
    if there is not None:
        raise StoreError(f"{there.url}: a store in a bucket cannot be replaced; copy it to a disk, and do it there")


def begin(writer: StoreWriter, job: Job, shards: Collection[int]) -> None:
    """Begin the successor of the store of `job`, or go on with it; these shards it takes over as they are, and as the
    manifest tells of them, by which the store was read so far.
    """
    old = Manifest.read(job.path)
    if writer.previous_identity() not in (None, writer.identity):
        remove_tree(writer.path)  # begun for a corpus that has changed since; all of it can be made again
    writer.mend()
    writer.steps = steps_of(job.path, writer.fields)
    writer.begin()
    if not (writer.path / LOG).exists() and (job.path / LOG).exists():
        with atomic_file(writer.path / LOG, within=writer.path) as log:
            log.write((job.path / LOG).read_bytes())
    lay_beside(writer.path, job)
    for shard in shards:
        if not writer.committed(shard):
            adopt(writer, job.path, shard, old.shards[shard], check=False)


def lay_beside(store: Path, job: Job) -> None:
    """What belongs to a store and is no row of it, before it is complete: who is killed later has all of it."""
    if job.classes:
        write_classes(store, job.classes)
    if job.losses:
        write_losses(store, job.losses)


def take_its_place(path: Path, claims: Claims) -> str:
    """The successor, which is whole, moves in; returns what to tell of the old store. No addition to it is finished
    meanwhile."""
    with claims.beginning_or_end():
        left = sorted(place.name for place in (path / FOLDER).glob("*") if place.is_dir())
        aside = set_aside(path, digest(begun_with(path) or {})[:8])
        _move_in(path)
    told = f"; {', '.join(left)} stayed there: run the recipe again to add to the new store" if left else ""
    return f"the old store is now {aside}{told}"


def recover(path: Path) -> None:
    """Where a run died while the two changed places, the successor moves in; of one that lives it is left alone."""
    if between(path):
        with Claims(path) as claims, claims.beginning_or_end():
            if between(path):
                _move_in(path)


def clear_away(path: Path) -> None:
    """Where nothing is to be done: what a disk that failed may have brought back of what was done before.

    The folder of the successor stays: that it was left is not yet sure where that disk failed.
    """
    tidy_below(path)
    tidy(beside(path))


def drop(path: Path) -> None:
    """Away with a successor that is not better."""
    remove_tree(beside(path).parent)


def _move_in(path: Path) -> None:
    beside(path).rename(path)
    with or_undone(lambda: path.rename(beside(path))):
        sync(path.parent)
    drop(path)
