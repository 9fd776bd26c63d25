"""Stage 1, top to bottom: a corpus is planned, its shards are run through the frozen teacher, and each is committed.

    distillkit extract-teacher pipelines/extract/demo.toml

Rerunning continues after the last committed shard; a finished store is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from distillkit import cpu
from distillkit.atomic import append_line
from distillkit.errors import SourceError, StoreError
from distillkit.machine import machine
from distillkit.paths import expand
from distillkit.pixels import decode
from distillkit.recipe import Corpus, ExtractRecipe, differences
from distillkit.store import layout
from distillkit.store.manifest import Field, Manifest
from distillkit.store.plan import make_plan
from distillkit.store.writer import Failure, StoreWriter
from distillkit.versions import versions

Say = Callable[[str], None]


@dataclass
class Cost:
    """Where the time of a shard went, in seconds; the teacher's own part by field."""

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


def extract(recipe: ExtractRecipe, say: Say = print, command: str | None = None) -> list[Path]:
    """Every corpus of the recipe as a store; returns their folders. StoreError when too many samples failed.

    `command` is kept beside the measured costs, so that a report can say how to make this again.
    """
    cpu.settle()
    say(f"teacher {recipe.teacher.knobs.get('model', recipe.teacher.kind)}: loading")
    teacher = recipe.teacher.build("teachers")
    fingerprint = teacher.fingerprint()
    say(
        f"teacher {fingerprint['model']}: loaded {fingerprint['tensors']}/{fingerprint['tensors']} tensors, "
        f"sha256 {fingerprint['weights_sha256'][:16]}, {fingerprint['activation']}, {fingerprint['precision']}, "
        f"preprocessing {fingerprint['preprocess']}"
    )
    made = {"command": command, "machine": machine()}
    paths = [extract_corpus(corpus, teacher, fingerprint, recipe, say, made) for corpus in recipe.corpora]
    for path, corpus in zip(paths, recipe.corpora, strict=True):
        _judge(path, corpus, say)
    return paths


def extract_corpus(
    corpus: Corpus, teacher: Any, fingerprint: dict[str, Any], recipe: ExtractRecipe, say: Say, made: dict[str, Any]
) -> Path:
    """One corpus: plan, run what is not committed yet, finish with the manifest. `made` goes into the log."""
    path = Path(expand(recipe.out)) / corpus.name
    source = corpus.source.build("sources")
    plan, duplicates = make_plan(source, source.root)
    writer = StoreWriter(
        path,
        plan,
        fields=_fields(corpus, teacher, recipe.teacher.kind),
        rows_per_shard=corpus.rows_per_shard,
        identity={
            "source": {
                "kind": corpus.source.kind,
                "knobs": corpus.source.knobs,
                "root": None if source.root is None else str(source.root),
                "duplicates": duplicates,
            },
            "teachers": {recipe.teacher.kind: fingerprint},
            "views": {"count": 1, "kind": "the teacher's own evaluation transform"},
            "batch_size": corpus.batch_size,
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.parent / f".{path.name}.lock", timeout=0):
            return _run(writer, corpus, teacher, recipe, source.root, duplicates, say, made)
    except Timeout as error:
        raise StoreError(f"{path}: another process is extracting here; wait for it or stop it") from error


def _run(
    writer: StoreWriter,
    corpus: Corpus,
    teacher: Any,
    recipe: ExtractRecipe,
    root: Path | None,
    duplicates: int,
    say: Say,
    made: dict[str, Any],
) -> Path:
    path, before = writer.path, writer.previous_identity()
    if before is not None and before != writer.identity:
        changes = differences(before, writer.identity)
        aside = writer.set_aside()
        more = f" and {len(changes) - 1} more changes" if changes[1:] else ""
        say(f"{path}: {changes[0]}{more}; extracting anew, the old store is now {aside}")
    elif writer.finished():
        say(f"{path}: already complete ({writer.plan.num_rows} rows), nothing to do")
        return path
    writer.begin()
    if duplicates:
        say(f"{path}: {duplicates} samples whose key had come before were left out")

    done = sum(writer.committed(shard) for shard in range(writer.shards))
    say(
        f"{path}: {writer.plan.num_rows} rows in {writer.shards} shards"
        + (f", {done} already committed" if done else "")
    )
    started = time.perf_counter()
    for shard in range(writer.shards):
        if writer.committed(shard):
            continue
        first, stop = writer.span(shard)
        cost = Cost()
        arrays, failures = _shard(writer.plan.slice(first, stop - first), corpus, teacher, recipe, root, cost)
        writer.commit(shard, arrays, failures)
        line = cost.line(shard, stop - first, len(failures))
        append_line(path / "extract.jsonl", line | made)
        left = (time.perf_counter() - started) / (shard + 1 - done) * (writer.shards - shard - 1)
        say(
            f"{path}: shard {shard + 1}/{writer.shards}, {line['rows'] / line['seconds']:.0f} rows/s, "
            f"{100 * line['wait_share']:.0f}% waiting for data, {line['failed']} failed, {left:.0f} s left"
        )
    manifest = writer.finish(versions())
    say(f"{path}: complete, {manifest.rows - manifest.skipped} rows, digest {manifest.digest[:16]}")
    return path


def _judge(path: Path, corpus: Corpus, say: Say) -> None:
    """Tell of failed samples after every run, not only the first; StoreError when they are too many."""
    manifest = Manifest.read(path)
    if not manifest.skipped:
        return
    told = f"{path}: {manifest.skipped} of {manifest.rows} samples failed; see: distillkit store failures {path}"
    if manifest.skipped > corpus.max_failures * manifest.rows:
        raise StoreError(
            f"{told} (more than max_failures = {corpus.max_failures}; mend them, move the store away, rerun)"
        )
    say(told)


def _fields(corpus: Corpus, teacher: Any, alias: str) -> dict[str, Field]:
    unknown = [name for name in corpus.fields if name not in teacher.fields]
    if unknown:
        raise StoreError(
            f"corpus {corpus.name!r}: the teacher gives no {unknown[0]!r}; it gives: {', '.join(teacher.fields)}"
        )
    return {
        f"{alias}/{name}": Field(teacher=alias, shape=teacher.fields[name], dtype=corpus.dtype)
        for name in corpus.fields
    }


def _shard(
    plan: pa.Table, corpus: Corpus, teacher: Any, recipe: ExtractRecipe, root: Path | None, cost: Cost
) -> tuple[dict[str, np.ndarray], list[Failure]]:
    """The fields of some planned rows. Depends on nothing but its arguments, so a shard can be computed again."""
    arrays: dict[str, np.ndarray] = {}
    failures: list[Failure] = []
    for name in corpus.fields:
        values = np.full((plan.num_rows, *teacher.fields[name]), np.nan, layout.DTYPES[corpus.dtype])
        batches = (
            _text_batches(plan, corpus.batch_size, teacher, failures)
            if name == "text"
            else _image_batches(plan, corpus.batch_size, teacher, root, recipe.decode_threads, failures)
        )
        for rows, inputs in _timed(batches, cost):
            started = time.perf_counter()
            features = teacher.forward(**({"tokens": inputs} if name == "text" else {"pixels": inputs}))
            cost.forward[name] = cost.forward.get(name, 0.0) + time.perf_counter() - started
            with np.errstate(over="ignore"):
                # A value beyond the stored dtype becomes infinite here, and a ledger line just below.
                values[rows] = getattr(features, name).numpy().astype(values.dtype)
        known = {row for row, _, _ in failures}
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        failures += [
            (int(row), "forward", f"{name}: the teacher gave a value that is not finite in {corpus.dtype}")
            for row in np.flatnonzero(~finite)
            if int(row) not in known
        ]
        arrays[f"{recipe.teacher.kind}/{name}"] = values
    return arrays, failures


def _image_batches(
    plan: pa.Table, batch_size: int, teacher: Any, root: Path | None, threads: int, failures: list[Failure]
) -> Iterator[tuple[list[int], Tensor]]:
    """Full batches of preprocessed pixels in plan order; what cannot be decoded goes to the ledger, into no batch."""

    def load(name: str | None) -> Tensor:
        if name is None or root is None:
            raise SourceError("the sample has no image, or one whose file name is not UTF-8")
        return teacher.preprocess(decode(root / name))

    rows: list[int] = []
    pixels: list[Tensor] = []
    pool = ThreadPoolExecutor(threads)
    try:
        for row, future in enumerate(_ahead(pool, load, plan["image"].to_pylist(), 2 * batch_size)):
            try:
                pixels.append(future.result())
            except SourceError as error:
                failures.append((row, "decode", str(error)))
                continue
            rows.append(row)
            if len(rows) == batch_size:
                yield rows, torch.stack(pixels)
                rows, pixels = [], []
        if rows:
            yield rows, torch.stack(pixels)
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


def _text_batches(
    plan: pa.Table, batch_size: int, teacher: Any, failures: list[Failure]
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of texts of like length, cut to their longest: no time goes into padding."""
    texts = plan["text"].to_pylist()
    missing = [row for row, text in enumerate(texts) if text is None]
    failures.extend((row, "read", "the sample has no text") for row in missing)
    rows = [row for row, text in enumerate(texts) if text is not None]
    if not rows:
        return
    tokens, lengths = teacher.tokenize([texts[row] for row in rows])
    for batch in by_length(lengths, batch_size):
        yield [rows[place] for place in batch.tolist()], tokens[batch, : int(lengths[batch].max())]


def by_length(lengths: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Row numbers in batches of like length; equal lengths stay in order, so the batches are always the same."""
    return torch.argsort(lengths, stable=True).split(batch_size)


def _timed(batches: Iterator[tuple[list[int], Tensor]], cost: Cost) -> Iterator[tuple[list[int], Tensor]]:
    """The same batches; the time spent waiting for them is counted."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        cost.wait += time.perf_counter() - started
        if batch is None:
            return
        yield batch
