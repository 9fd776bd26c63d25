"""Some planned rows as features: each batch is shown to the teachers, each failure goes to the ledger.

What a shard holds depends on nothing but the job and its rows, so it can be computed again, anywhere. Only its inputs
are made ahead, across the borders of shards: no teacher waits for the first image of the next one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.engine.asking import Asked
from distillkit.engine.cost import Cost
from distillkit.engine.decoding import Outcomes, decoded, in_order
from distillkit.engine.job import Job
from distillkit.engine.loading import Say
from distillkit.engine.prefetch import prefetched
from distillkit.engine.sight import Seen, Sight
from distillkit.errors import SourceError
from distillkit.pixels.jpegs import Wanted
from distillkit.store.format.encode import encode
from distillkit.store.format.field import PARAMETERS, blank
from distillkit.store.writing.shards import Failure

Tokenised = dict[str, tuple[Tensor, Tensor]]  # by teacher: tokens, and how many of each row matter


class Shown(NamedTuple):
    """One batch: which rows, what each teacher is shown of them, and the parameters of their views."""

    rows: list[int]
    inputs: dict[str, dict[str, Tensor]]
    parameters: np.ndarray | None = None


@dataclass
class Shard:
    """The fields of some planned rows, those who failed, and what it cost."""

    job: Job
    number: int
    plan: pa.Table
    arrays: dict[str, np.ndarray] = field(init=False)
    failures: list[Failure] = field(default_factory=list)
    clipped: Counter[str] = field(default_factory=Counter)  # values beyond the steps of each int8 field
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        self.arrays = {name: blank(field, self.plan.num_rows) for name, field in self.job.fields.items()}

    def keep(self, name: str, rows: list[int], values: Tensor, known: set[int]) -> None:
        """Put what a teacher said in its rows; a row with a value that the dtype cannot hold has failed."""
        kind = self.job.fields[name]
        kept = encode(values.reshape(len(rows), *kind.shape), kind, self.job.steps.get(name))
        self.arrays[name][rows] = kept.rows
        self.clipped[name] += kept.clipped
        for row in np.asarray(rows)[~kept.usable].tolist():
            if row not in known:
                told = name if len(self.job.teachers) > 1 else name.partition("/")[2]
                self.failures.append(
                    (row, "forward", f"{told}: the teacher gave a value that is not finite in {kind.dtype}")
                )
                known.add(row)


def computed(job: Job, plans: dict[int, pa.Table], say: Say, tell: Callable[[Shard, int], None]) -> Generator[Shard]:
    """Shards by number and plan, in turn. `tell` hears of the one in hand, and how many of its rows are done."""
    source = job.source  # it cannot be opened any more when it is lost
    asked = {alias: Asked(alias, teacher.network, say) for alias, teacher in job.teachers.items()}
    with ExitStack() as stack:
        # Entered first, so left last: what they wait for has been cancelled by then.
        making, keeping = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        images = stack.enter_context(_images(job, plans.values())) if "image" in job.passes else None
        texts = stack.enter_context(_texts(job, plans.values())) if "text" in job.passes else None
        for number, plan in plans.items():
            shard = Shard(job, number, plan)
            for what in job.passes:
                batches = _text_batches(shard, texts) if what == "text" else _image_batches(shard, images)
                _ask(shard, what, prefetched(batches, making), asked, keeping, tell)
            _refuse_a_lost_corpus(source, shard.failures)
            shard.cost.halved = [alias for alias, one in asked.items() if one.halved]
            yield shard


def _ask(
    shard: Shard,
    what: str,
    batches: Iterator[Shown],
    asked: dict[str, Asked],
    keeping: ThreadPoolExecutor,
    tell: Callable[[Shard, int], None],
) -> None:
    """Show every batch to every teacher that is asked about it; what they said is kept while they look at the next.

    They are asked here, in the thread that began: of its memory alone glibc keeps large pieces for the next batch.
    """
    known, done, kept = {row for row, _, _ in shard.failures}, 0, None
    for batch in _timed(batches, shard.cost):
        said: dict[str, Tensor] = {}
        for alias, inputs in batch.inputs.items():
            started = time.perf_counter()
            answer = asked[alias](inputs, shard.job.passes[what][alias])
            whose = what if len(shard.job.teachers) == 1 else f"{alias}/{what}"
            spent = shard.cost.forward.get(whose, 0.0) + time.perf_counter() - started
            shard.cost.forward[whose] = spent
            said |= {f"{alias}/{name}": values for name, values in answer.items()}
        if kept is not None:
            kept.result()
        kept = keeping.submit(_keep, shard, batch, said, known)
        done += len(batch.rows)
        tell(shard, done)
    if kept is not None:
        kept.result()


def _keep(shard: Shard, batch: Shown, said: dict[str, Tensor], known: set[int]) -> None:
    for name, values in said.items():
        shard.keep(name, batch.rows, values, known)
    if batch.parameters is not None and not shard.job.adds:
        shard.arrays[PARAMETERS][batch.rows] = batch.parameters


def _timed(batches: Iterator[Shown], cost: Cost) -> Iterator[Shown]:
    """The same batches; the time spent waiting for them is counted."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        cost.wait += time.perf_counter() - started
        if batch is None:
            return
        yield batch


# Images.


@contextmanager
def _images(job: Job, plans: Iterable[pa.Table]) -> Iterator[Outcomes]:
    """What is seen of every image of the plans, in order."""
    looks = {alias: job.teachers[alias].look for alias in job.passes["image"]}
    rows = (row for plan in plans for row in zip(plan["key"].to_pylist(), plan["image"].to_pylist(), strict=True))
    sight = Sight(job.corpus.source, looks, job.corpus.drawn_views)
    with decoded(sight, rows, kind=job.decode, workers=job.decode_threads, ahead=2 * job.images_per_batch) as outcomes:
        yield outcomes


def _image_batches(shard: Shard, outcomes: Outcomes | None) -> Iterator[Shown]:
    """Full batches of pixels in plan order; what cannot be decoded goes to the ledger, into no batch."""
    rows: list[int] = []
    seen: list[Seen] = []
    for row, outcome in enumerate(islice(outcomes or (), shard.plan.num_rows)):
        if isinstance(outcome, SourceError):
            shard.failures.append((row, "decode", str(outcome)))
            continue
        rows.append(row)
        seen.append(outcome)
        if len(rows) == shard.job.images_per_batch:
            yield from _developed(shard, rows, seen)
            rows, seen = [], []
    yield from _developed(shard, rows, seen)


def _developed(shard: Shard, rows: list[int], seen: list[Seen]) -> Iterator[Shown]:
    """The batch of these rows, with pixels where a GPU decodes; of what that finds damaged, a line in the ledger."""
    columns, errors = [], dict[int, SourceError]()
    for number, alias in enumerate(shard.job.passes["image"]):
        column: list[Any] = [one.pixels[number] for one in seen]
        if any(isinstance(one, Wanted) for one in column):
            teacher = shard.job.teachers[alias]
            column = list(teacher.look.develop(column, teacher.network.device))
        errors |= {row: one for row, one in zip(rows, column, strict=True) if isinstance(one, SourceError)}
        columns.append(column)
    shard.failures.extend((row, "decode", str(error)) for row, error in errors.items())
    sound = [place for place, row in enumerate(rows) if row not in errors]
    if sound:
        made = [Seen(tuple(column[place] for column in columns), seen[place].parameters) for place in sound]
        yield _batch(shard.job, [rows[place] for place in sound], made)


def _batch(job: Job, rows: list[int], seen: list[Seen]) -> Shown:
    """The views of some images, one behind the other, for each teacher."""
    pinned = torch.cuda.is_available()
    inputs = {}
    for number, alias in enumerate(job.passes["image"]):
        parts: list[Any] = [one.pixels[number] for one in seen]
        shape, kind, device = (sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype, parts[0].device
        as_images = parts[0].is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if as_images else torch.contiguous_format
        pin = pinned and device.type == "cpu"
        place = torch.empty(shape, dtype=kind, device=device, pin_memory=pin, memory_format=order)
        inputs[alias] = {"pixels": torch.cat(parts, out=place)}
    parameters = [one.parameters for one in seen if one.parameters is not None]
    return Shown(rows, inputs, np.stack(parameters) if parameters else None)


# Texts.


@contextmanager
def _texts(job: Job, plans: Iterable[pa.Table]) -> Iterator[Iterator[Tokenised]]:
    """The tokens of every shard's texts, made while the shard before is computed."""
    networks = {alias: job.teachers[alias].network for alias in job.passes["text"]}

    def tokenise(plan: pa.Table) -> Tokenised:
        texts = plan["text"].drop_null().to_pylist()
        return {alias: network.tokenize(texts) for alias, network in networks.items()} if texts else {}

    pool = ThreadPoolExecutor(1)
    try:
        yield (future.result() for future in in_order(pool.submit, tokenise, plans, 2))
    finally:
        pool.shutdown(cancel_futures=True)


def _why_no_text(location: str | None) -> str:
    """A source that could not use a row says so in the place of its image, behind a question mark."""
    return location[1:] if location and location.startswith("?") else "the sample has no text"


def _text_batches(shard: Shard, tokenised: Iterator[Tokenised] | None) -> Iterator[Shown]:
    """Batches of texts of like length, cut to their longest: no time goes into padding."""
    absent = shard.plan["text"].is_null().to_numpy()
    shard.failures.extend(
        (row, "read", _why_no_text(shard.plan["image"][row].as_py())) for row in np.flatnonzero(absent).tolist()
    )
    present = np.flatnonzero(~absent)
    for alias, (tokens, lengths) in next(tokenised or iter(()), {}).items():
        for batch in by_length(lengths, shard.job.corpus.batch_size):
            cut = tokens[batch, : int(lengths[batch].max())]
            yield Shown(present[batch.numpy()].tolist(), {alias: {"tokens": cut}})


def by_length(lengths: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Row numbers in batches of like length; equal lengths stay in order, so the batches are always the same."""
    return torch.argsort(lengths, stable=True).split(batch_size)


# Bad luck.


def _refuse_a_lost_corpus(source: Any, failures: list[Failure]) -> None:
    """SourceError when images failed because all of the corpus is gone: a ledger full of them would be no answer."""
    if isinstance(source.root, Path) and any(stage == "decode" for _, stage, _ in failures) and not _there(source.root):
        raise SourceError(
            f"{source.root}: the corpus is gone (a mount that was lost?); the shard in hand is dropped, what is "
            "committed is kept, bring the corpus back and run the same command again"
        )


def _there(root: Path) -> bool:
    """Whether a corpus still lies at its root: the folder of a lost mount is empty, or cannot be read."""
    try:
        return root.is_file() or any(root.iterdir())
    except OSError:
        return False
