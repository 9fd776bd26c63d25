"""What this machine does with a few samples of a corpus: how fast it decodes, asks its teachers, writes and reads."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from distillkit.engine.computing import computed
from distillkit.engine.decoding import decoded
from distillkit.engine.distinct import Distinct
from distillkit.engine.job import Job
from distillkit.engine.sight import Sight
from distillkit.errors import SourceError

SAMPLES = 200  # of a large corpus; of a small one a tenth, so that asking takes less than the work
_LEAST = 20
_WARM_UP = 4
_DISK_PROBE = 1 << 26


@dataclass(frozen=True)
class Probe:
    """Seconds: `decode` of an image by all decoders at once, `view` of one of its views and `text` by all teachers;
    `write` and `read`: bytes a second of the disk. `images`: of a row, less than 1 where rows share images.
    `first`: which sample failed first, and why.
    """

    samples: int
    failed: int
    decode: float
    view: float
    text: float
    write: float
    read: float
    images: float = 1.0
    first: str = ""


def probe(job: Job, plan: pa.Table, folder: Path) -> Probe:
    """Ask the teachers about samples from all over the plan. Nothing is kept; the disk of `folder` holds 64 MiB for a
    moment.
    """
    asked = min(SAMPLES, max(_LEAST, plan.num_rows // 10))
    places = np.unique(np.linspace(0, plan.num_rows - 1, asked).astype(int))
    sampled = plan.take(places)
    warm_up, decode = sampled.slice(0, _WARM_UP), 0.0
    # In float32, whatever is asked for: the steps of int8 are not measured yet.
    exact = replace(job, corpus=job.corpus.model_copy(update={"dtype": "float32", "dtypes": {}}))
    list(computed(exact, {0: warm_up}, lambda line: None, lambda *_: None))
    if "image" in job.passes:
        decode = _decoding(job, sampled)
    (shard,) = computed(exact, {0: sampled}, lambda line: None, lambda *_: None)
    answered = max(1, len(sampled) - len({row for row, _, _ in shard.failures}))
    images, share = max(1, shard.cost.images), len(Distinct(job, plan)) / plan.num_rows
    views = job.corpus.drawn_views.count if job.corpus.drawn_views else 1
    spent = {
        what: sum(seconds for name, seconds in shard.cost.forward.items() if name.rpartition("/")[2] == what)
        for what in ("image", "text")
    }
    write, read = _disk(folder)
    failed = len(sampled) - answered
    row, _, why = min(shard.failures, default=(0, "", ""))
    first = f"{sampled['key'][row].as_py()}: {why}" if shard.failures else ""
    view, text = spent["image"] / images / views, spent["text"] / answered
    return Probe(len(sampled), failed, decode, view, text, write, read, share, first)


def _decoding(job: Job, sampled: pa.Table) -> float:
    """Seconds per image of decoding alone, as fast as all decoders together are."""
    looks = {alias: job.teachers[alias].look for alias in job.passes["image"]}
    sight = Sight(job.corpus.source, looks, job.corpus.drawn_views, job.corpus.max_pixels)
    rows = zip(sampled["key"].to_pylist(), sampled["image"].to_pylist(), strict=True)
    with decoded(sight, rows, kind=job.decode, workers=job.decode_threads, ahead=2 * job.decode_threads) as outcomes:
        next(outcomes)  # processes have started by then
        started = time.perf_counter()
        seen = sum(not isinstance(outcome, SourceError) for outcome in outcomes)
        return (time.perf_counter() - started) / max(1, seen)


def _disk(folder: Path) -> tuple[float, float]:
    """Bytes a second of a durable write and of a read that is not from memory."""
    with tempfile.TemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        file.write(np.random.default_rng(0).bytes(_DISK_PROBE))
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter()
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        emptied = time.perf_counter()
        while file.read(1 << 22):
            pass
        return _DISK_PROBE / (written - started), _DISK_PROBE / (time.perf_counter() - emptied)
