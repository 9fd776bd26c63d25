"""Stage 1, top to bottom: a corpus is planned, its shards are shown to the frozen teachers, and each is committed.

    distillkit extract-teacher pipelines/extract/demo.toml

Rerunning continues after the last committed shard; a finished store is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit import cpu
from distillkit.atomic import append_line
from distillkit.errors import SourceError, StoreError
from distillkit.job import Job, Teacher, fields_asked
from distillkit.machine import machine
from distillkit.paths import expand
from distillkit.pixels import decode
from distillkit.recipe import Component, Corpus, ExtractRecipe, differences
from distillkit.store.additions import teachers_to_add
from distillkit.store.claims import Claims, Part
from distillkit.store.encode import encode
from distillkit.store.field import blank
from distillkit.store.manifest import FILE_NAME, Manifest
from distillkit.store.plan import make_plan
from distillkit.store.writer import Failure, StoreWriter
from distillkit.versions import versions

Say = Callable[[str], None]
Shown = tuple[str, list[int], dict[str, Tensor]]  # to which teacher, which rows, its `pixels` or `tokens`


@dataclass
class Cost:
    """Where the time of a shard went, in seconds.

    `forward` is the teacher's own part, by what it looked at: "image" and "text", or "name/image" of several teachers.
    """

    forward: dict[str, float] = field(default_factory=dict)
    wait: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def line(self, shard: int, rows: int, failed: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.started
        return {
            "shard": shard,
            "rows": rows,
            "failed": failed,
            "seconds": round(seconds, 3),
            "forward_seconds": {name: round(value, 3) for name, value in self.forward.items()},
            "wait_share": round(self.wait / seconds, 4),
        }


def extract(
    recipe: ExtractRecipe, say: Say = print, command: str | None = None, part: Part | None = None
) -> list[Path]:
    """Every corpus of the recipe as a store; returns their folders. StoreError when too many samples failed.

    `command` is kept beside the measured costs, so that a report can say how to make this again. `part`: one of several
    runs that share the work; whoever commits a store's last shard completes it.
    """
    cpu.settle()
    for corpus in recipe.corpora:
        corpus.source.build("sources")  # what cannot be read is told before a big teacher is loaded
    teachers = {alias: _load(component, say) for alias, component in recipe.by_alias.items()}
    out = Path(expand(recipe.out))
    jobs = [
        Job(out / corpus.name, corpus, teachers, fields_asked(corpus, teachers), recipe.decode_threads)
        for corpus in recipe.corpora
    ]
    made = {"command": command, "machine": machine()}
    written = [_extract_corpus(job, part or Part(), say, made) for job in jobs]
    for path, job in zip(written, jobs, strict=True):
        _judge(path, job.corpus, say)
    return [job.path for job in jobs]


def _load(component: Component, say: Say) -> Teacher:
    """The network of a recipe's teacher, ready to be asked; tells what was loaded."""
    say(f"teacher {component.knobs.get('model', component.kind)}: loading")
    network = component.build("teachers")
    fingerprint = network.fingerprint()
    say(
        f"teacher {fingerprint['model']}: loaded {fingerprint['tensors']}/{fingerprint['tensors']} tensors, "
        f"sha256 {fingerprint['weights_sha256'][:16]}, {fingerprint['activation']}, {fingerprint['precision']}, "
        f"preprocessing {fingerprint['preprocess']}"
    )
    return Teacher(network, fingerprint)


def _extract_corpus(job: Job, part: Part, say: Say, made: dict[str, Any]) -> Path:
    """One corpus: plan, run what is not committed yet, finish with the manifest. `made` goes into the log.

    Returns where it was written: the store, or an addition to it.
    """
    job.path.parent.mkdir(parents=True, exist_ok=True)
    plan, duplicates = make_plan(job.source, job.source.root, job.path.parent)
    job, writer = _place(job, plan, duplicates, say)
    with Claims(job.path) as claims:
        with claims.beginning_or_end():
            shards = _begin(writer, claims, part, duplicates, say)
        if shards:
            _run(job, writer, shards, say, made)
        with claims.beginning_or_end():
            _end(writer, part, say)
    return writer.path


def _place(job: Job, plan: pa.Table, duplicates: int, say: Say) -> tuple[Job, StoreWriter]:
    """The job and its writer; where a finished store lacks nothing but some teachers, these are added beside it."""
    writer = StoreWriter(job.path, plan, job.fields, job.corpus.rows_per_shard, job.identity(duplicates))
    before = writer.previous_identity()
    new = teachers_to_add(before, writer.identity) if before is not None and writer.finished() else []
    if not new:
        return job, writer
    say(f"{job.path}: stays as it is, {' and '.join(new)} added to it; train with data.teacher = {new[0]!r}")
    job = job.beside(new)
    return job, StoreWriter(job.path, plan, job.fields, job.corpus.rows_per_shard, job.identity(duplicates))


def _begin(writer: StoreWriter, claims: Claims, part: Part, duplicates: int, say: Say) -> list[int]:
    """Make the store's folder ready; what another identity left is set aside. Returns the shards that we do."""
    path, before, idle = writer.path, writer.previous_identity(), claims.idle()
    if before is not None and before != writer.identity:
        changes = differences(before, writer.identity)
        if not idle:
            raise StoreError(f"{path}: another process is extracting here, with another recipe ({changes[0]}); stop it")
        aside = writer.set_aside()
        more = f" (and {len(changes) - 1} more)" if changes[1:] else ""
        say(f"{path}: {changes[0]}{more}; extracting anew, the old store is now {aside}")
    for shard in writer.mend():
        say(f"{path}: shard {shard + 1} of {writer.shards} has lost files; it is extracted again")
    if writer.finished():
        say(f"{path}: already complete ({writer.plan.num_rows} rows), nothing to do")
        return []
    writer.begin(alone=idle)
    if duplicates:
        say(f"{path}: {duplicates} samples whose key had come before were left out")
    mine = claims.take(shard for shard in part.shards(writer.shards) if not writer.committed(shard))
    done = sum(writer.committed(shard) for shard in range(writer.shards))
    told = f", part {part} is {len(part.shards(writer.shards))} of them" if part.of > 1 else ""
    say(
        f"{path}: {writer.plan.num_rows} rows in {writer.shards} shards{told}"
        + (f", {done} already committed" if done else "")
    )
    return mine


def _run(job: Job, writer: StoreWriter, shards: list[int], say: Say, made: dict[str, Any]) -> None:
    """Compute and commit these shards."""
    path, started = writer.path, time.perf_counter()
    for done, shard in enumerate(shards, 1):
        first, stop = writer.span(shard)
        cost = Cost()
        arrays, failures = _shard(job, writer.plan.slice(first, stop - first), cost)
        writer.commit(shard, arrays, failures)
        line = cost.line(shard, stop - first, len(failures))
        append_line(path / "extract.jsonl", line | made)
        left = (time.perf_counter() - started) / done * (len(shards) - done)
        say(
            f"{path}: shard {shard + 1}/{writer.shards}, {line['rows'] / line['seconds']:.0f} rows/s, "
            f"{100 * line['wait_share']:.0f}% waiting for data, {line['failed']} failed, {left:.0f} s left"
        )


def _end(writer: StoreWriter, part: Part, say: Say) -> None:
    """Whoever commits the last shard writes the manifest."""
    if writer.finished():
        return
    missing = sum(not writer.committed(shard) for shard in range(writer.shards))
    if missing:
        whose = f"part {part} is done, " if part.of > 1 else ""
        say(f"{writer.path}: {whose}{missing} of {writer.shards} shards are to come from others")
        return
    manifest = writer.finish(versions())
    say(f"{writer.path}: complete, {manifest.rows - manifest.skipped} rows, digest {manifest.digest[:16]}")


def _judge(path: Path, corpus: Corpus, say: Say) -> None:
    """Tell of failed samples after every run, not only the first; StoreError when they are too many."""
    if not (path / FILE_NAME).is_file():
        return  # other parts are to come
    manifest = Manifest.read(path)
    if not manifest.skipped:
        return
    told = f"{path}: {manifest.skipped} of {manifest.rows} samples failed; see: distillkit store failures {path}"
    if manifest.skipped > corpus.max_failures * manifest.rows:
        raise StoreError(
            f"{told} (more than max_failures = {corpus.max_failures}; mend them, move the store away, rerun)"
        )
    say(told)


def _shard(job: Job, plan: pa.Table, cost: Cost) -> tuple[dict[str, np.ndarray], list[Failure]]:
    """The fields of some planned rows. Depends on nothing but its arguments, so a shard can be computed again."""
    arrays = {name: blank(field, plan.num_rows) for name, field in job.fields.items()}
    failures: list[Failure] = []
    for what, asked in job.passes.items():
        known = {row for row, _, _ in failures}
        networks = {alias: job.teachers[alias].network for alias in asked}
        batches = (_text_batches if what == "text" else _image_batches)(job, plan, networks, failures)
        for alias, rows, inputs in _timed(batches, cost):
            started = time.perf_counter()
            features = networks[alias].forward(**inputs, fields=asked[alias])
            whose = "" if len(job.teachers) == 1 else f"{alias}/"
            cost.forward[whose + what] = cost.forward.get(whose + what, 0.0) + time.perf_counter() - started
            for name in asked[alias]:
                kept = encode(getattr(features, name), job.fields[f"{alias}/{name}"])
                arrays[f"{alias}/{name}"][rows] = kept.rows
                for row in np.asarray(rows)[~kept.usable].tolist():
                    if row not in known:
                        told = f"{whose}{name}: the teacher gave a value that is not finite in {job.corpus.dtype}"
                        failures.append((row, "forward", told))
                        known.add(row)
    return arrays, failures


def _image_batches(job: Job, plan: pa.Table, networks: Mapping[str, Any], failures: list[Failure]) -> Iterator[Shown]:
    """Full batches of preprocessed pixels in plan order; what cannot be decoded goes to the ledger, into no batch.

    An image is read and decoded once, and then made ready for each network.
    """

    def load(location: str | None) -> list[Tensor]:
        if location is None:
            raise SourceError("the sample has no image, or one whose file name is not UTF-8")
        image = decode(job.source.read(location))
        return [network.preprocess(image) for network in networks.values()]

    def shown(rows: list[int], pixels: list[list[Tensor]]) -> Iterator[Shown]:
        for alias, views in zip(networks, zip(*pixels, strict=True), strict=True):
            yield alias, rows, {"pixels": torch.stack(views)}

    rows: list[int] = []
    pixels: list[list[Tensor]] = []
    pool = ThreadPoolExecutor(job.decode_threads)
    try:
        for row, future in enumerate(_ahead(pool, load, plan["image"].to_pylist(), 2 * job.corpus.batch_size)):
            try:
                pixels.append(future.result())
            except SourceError as error:
                failures.append((row, "decode", str(error)))
                continue
            rows.append(row)
            if len(rows) == job.corpus.batch_size:
                yield from shown(rows, pixels)
                rows, pixels = [], []
        if rows:
            yield from shown(rows, pixels)
    finally:
        # On Ctrl-C what is queued is dropped: nobody waits for hundreds of images that nobody wants.
        pool.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[..., Any], items: list[Any], depth: int
) -> Iterator[Future[Any]]:
    """Futures of `function` over `items` in order, at most `depth` of them under way: memory stays bounded."""
    waiting = iter(items)
    queue = [pool.submit(function, item) for item in islice(waiting, depth)]
    while queue:
        yield queue.pop(0)
        queue.extend(pool.submit(function, item) for item in islice(waiting, 1))


def _text_batches(job: Job, plan: pa.Table, networks: Mapping[str, Any], failures: list[Failure]) -> Iterator[Shown]:
    """Batches of texts of like length, cut to their longest: no time goes into padding."""
    texts = plan["text"].to_pylist()
    failures.extend((row, "read", "the sample has no text") for row, text in enumerate(texts) if text is None)
    present = [row for row, text in enumerate(texts) if text is not None]
    if not present:
        return
    for alias, network in networks.items():
        tokens, lengths = network.tokenize([texts[row] for row in present])
        for batch in by_length(lengths, job.corpus.batch_size):
            rows = [present[place] for place in batch.tolist()]
            yield alias, rows, {"tokens": tokens[batch, : int(lengths[batch].max())]}


def by_length(lengths: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Row numbers in batches of like length; equal lengths stay in order, so the batches are always the same."""
    return torch.argsort(lengths, stable=True).split(batch_size)


def _timed(batches: Iterator[Shown], cost: Cost) -> Iterator[Shown]:
    """The same batches; the time spent waiting for them is counted."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        cost.wait += time.perf_counter() - started
        if batch is None:
            return
        yield batch
