"""What is told of the samples that failed, after every run and not only the first."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from distillkit.callable import Say
from distillkit.engine.job import Job
from distillkit.errors import SourceError, StoreError
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.mended import once_mended
from distillkit.store.writing.stamps import FOLDER as STAMPS
from distillkit.system.wording import as_word, count

_LOOKED = 1000  # files, at most: each is one question to a file server


def judge(path: Path, job: Job, plan: pa.Table, say: Say, look: bool = True) -> None:
    """Tell of failed samples of what the job wrote at `path`, and how to go on; StoreError when they are too many.

    `look`: whether their files, as the corpus of `plan` names them, are others by now.
    """
    most = job.corpus.max_failures
    if not (path / FILE_NAME).is_file():
        return  # other parts are to come
    store = FeatureStore(path)
    manifest = store.manifest
    if not manifest.skipped:
        return
    see = f"distillkit store failures {as_word(path)}"
    told = f"{path}: {manifest.skipped} of {count(manifest.rows, 'sample')} failed; see: {see}"
    if manifest.skipped > most * manifest.rows:
        raise StoreError(f"{told} (more than max_failures = {most}: raise it, or mend them and add --retry-failed)")
    if cure := once_mended(store):
        newer = _newer(store, job, plan) if look else 0
        when = f"{newer:,} of their files changed since" if newer else "once their files are mended"
        told += f" ({when}: {cure})"
    say(told)


def _newer(store: FeatureStore, job: Job, plan: pa.Table) -> int:
    """How many of the first failed images have a file that is newer than the store: a cheap look, which misses what was
    mended by a file with its old date."""
    if not (store.path / STAMPS).is_dir():  # its images are no files of their own
        return 0
    keys = pa.array([line["key"] for line in store.failures()[:_LOOKED]])
    names = set(plan["image"].filter(pc.is_in(plan["key"], keys)).to_pylist()) - {None}
    made = (store.path / FILE_NAME).stat().st_mtime_ns
    return sum(_time(job, name) > made for name in names)


def _time(job: Job, name: str) -> int:
    """Of the last change of an image's file; 0 where there is none."""
    try:
        found = job.source.read(name)
        return found.stat().st_mtime_ns if isinstance(found, Path) else 0
    except (SourceError, OSError):
        return 0
