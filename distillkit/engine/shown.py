"""What teachers are shown of a shard: pixels in plan order, and texts of like length, batch by batch.

What cannot be shown goes to the ledger of the shard, into no batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distillkit.engine.decoding import Outcomes, Row, decoded, in_order
from distillkit.engine.distinct import Distinct
from distillkit.engine.job import Job
from distillkit.engine.shard import Shard
from distillkit.engine.sight import Seen, Sight
from distillkit.errors import SourceError, TeacherError
from distillkit.pixels.jpegs import Wanted
from distillkit.system.device import out_of_memory, pinned
from distillkit.system.wording import count as counted

# By teacher: tokens, how many of each row matter, and how many texts are longer than it can read.
Tokenised = dict[str, tuple[Tensor, Tensor, int]]

_LOOKED_AT = 1000


class Shown(NamedTuple):
    """One batch: which rows, what each teacher is shown of them, and the parameters of their views.

    `of`: which input each row is of, where rows share images; else each has its own. `upto`: how many images of the
    shard have had their turn with it, or how many batches of texts.
    """

    rows: list[int]
    inputs: dict[str, dict[str, Tensor]]
    parameters: np.ndarray | None = None
    of: list[int] | None = None
    upto: int = 0


# Images.


@contextmanager
def images(
    job: Job, plans: Iterable[tuple[int, pa.Table]], shown: Callable[[int, int], int] = lambda number, rows: 0
) -> Iterator[Outcomes]:
    """What is seen of every image of numbered plans, each once a plan, in order.

    `shown(number, rows)`: how many images of that plan, its first ones, were seen before; they are left out.
    """
    looks = {alias: job.teachers[alias].look for alias in job.passes["image"]}
    rows = (
        row for number, plan in plans for row in islice(_keys_and_images(job, plan), shown(number, plan.num_rows), None)
    )
    sight = Sight(job.corpus.source, looks, job.corpus.drawn_views, job.corpus.max_pixels)
    with decoded(sight, rows, kind=job.decode, workers=job.decode_threads, ahead=2 * job.images_per_batch) as outcomes:
        yield outcomes


def _keys_and_images(job: Job, plan: pa.Table) -> Iterator[Row]:
    asked = Distinct(job, plan)
    plan = plan.take(pa.array(asked.first)) if asked.shared else plan
    return zip(plan["key"].to_pylist(), plan["image"].to_pylist(), strict=True)


def image_batches(shard: Shard, outcomes: Outcomes | None) -> Iterator[Shown]:
    """Full batches of pixels in plan order; what cannot be decoded goes to the ledger, into no batch."""
    distinct = Distinct(shard.job, shard.plan)
    images: list[int] = []
    seen: list[Seen] = []
    begin = shard.reached.get("image", 0)
    for image, outcome in enumerate(islice(outcomes or (), len(distinct) - begin), begin):
        if isinstance(outcome, SourceError):
            shard.failures.extend((row, "decode", str(outcome)) for row in distinct.rows(image))
            continue
        images.append(image)
        seen.append(outcome)
        shard.cost.dropped += outcome.dropped
        if outcome.stamp:
            shard.stamps[distinct.rows(image)] = outcome.stamp
        if len(images) == shard.job.images_per_batch:
            yield from _developed(shard, distinct, images, seen, image + 1)
            images, seen = [], []
    yield from _developed(shard, distinct, images, seen, len(distinct))


def _developed(shard: Shard, distinct: Distinct, images: list[int], seen: list[Seen], upto: int) -> Iterator[Shown]:
    """The batch of these images, with pixels where a GPU decodes; of what that finds damaged, lines in the ledger."""
    columns, errors = [], dict[int, SourceError]()
    for number, alias in enumerate(shard.job.passes["image"]):
        column: list[Any] = [one.pixels[number] for one in seen]
        if any(isinstance(one, Wanted) for one in column):
            column = _decoded_on_gpu(shard.job, alias, column)
        errors |= {image: one for image, one in zip(images, column, strict=True) if isinstance(one, SourceError)}
        columns.append(column)
    shard.failures.extend(
        (row, "decode", str(error)) for image, error in errors.items() for row in distinct.rows(image)
    )
    sound = [place for place, image in enumerate(images) if image not in errors]
    if sound:
        made = [Seen(tuple(column[place] for column in columns), seen[place].parameters) for place in sound]
        shard.cost.images += len(made)
        rows = [distinct.rows(images[place]) for place in sound]
        shown = _batch(shard.job, [row for each in rows for row in each], made)
        of = [number for number, each in enumerate(rows) for _ in each]
        yield shown._replace(upto=upto, of=None if len(of) == len(made) else of)


def _decoded_on_gpu(job: Job, alias: str, column: list[Any]) -> list[Any]:
    """TeacherError where its memory does not suffice for the images, one by one."""
    try:
        return list(job.teachers[alias].look.develop(column, _device(job, alias)))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise TeacherError(
            f"teacher {alias}: out of memory while the GPU decodes {counted(len(column), 'image')}; what is "
            f"committed is kept, "
            'lower batch_size (another store), or set teacher.pixels = "torchvision" (another teacher), and run again'
        ) from error


def _batch(job: Job, rows: list[int], seen: list[Seen]) -> Shown:
    """The views of some images, one behind the other, for each teacher."""
    inputs = {}
    for number, alias in enumerate(job.passes["image"]):
        parts: list[Any] = [one.pixels[number] for one in seen]
        shape, kind, device = (sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype, parts[0].device
        as_images = parts[0].is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if as_images else torch.contiguous_format
        pin = device.type == "cpu" and _device(job, alias).type == "cuda"
        place = torch.empty(shape, dtype=kind, device=device, pin_memory=pin, memory_format=order)
        inputs[alias] = {"pixels": torch.cat(parts, out=place)}
    parameters = [one.parameters for one in seen if one.parameters is not None]
    return Shown(rows, inputs, np.stack(parameters) if parameters else None)


def _device(job: Job, alias: str) -> torch.device:
    """Where a teacher is: a copy to a GPU out of pinned memory waits for nobody."""
    return getattr(job.teachers[alias].network, "device", torch.device("cpu"))


# Texts.


@contextmanager
def texts(job: Job, plans: Iterable[pa.Table]) -> Iterator[Iterator[Tokenised]]:
    """The tokens of every shard's texts, made while the shard before is computed."""
    networks = {alias: job.teachers[alias].network for alias in job.passes["text"]}

    def tokenise(plan: pa.Table) -> Tokenised:
        texts = plan["text"].drop_null().to_pylist()
        return {alias: _tokenised(network, texts) for alias, network in networks.items() if texts}

    pool = ThreadPoolExecutor(1)
    try:
        yield (future.result() for future in in_order(pool.submit, tokenise, plans, 2))
    finally:
        pool.shutdown(cancel_futures=True)


def _why_no_text(location: str | None) -> str:
    """A source that could not use a row says so in the place of its image, behind a question mark."""
    return location[1:] if location and location.startswith("?") else "the sample has no text"


def text_batches(shard: Shard, tokenised: Iterator[Tokenised] | None) -> Iterator[Shown]:
    """Batches of texts of like length, cut to their longest: no time goes into padding.

    A row without a text has failed where texts are all that is asked for; else its image is what counts.
    """
    absent = shard.plan["text"].is_null().to_numpy()
    if all(field.rpartition("/")[2] == "text" for field in shard.job.corpus.fields):
        shard.failures.extend(
            (row, "read", _why_no_text(shard.plan["image"][row].as_py())) for row in np.flatnonzero(absent).tolist()
        )
    present = np.flatnonzero(~absent)
    done = 0
    for alias, (tokens, lengths, cut_texts) in next(tokenised or iter(()), {}).items():
        shard.cost.cut[alias] = cut_texts
        for batch in by_length(lengths, shard.job.corpus.batch_size):
            done += 1
            if done > shard.reached.get("text", 0):
                cut = pinned(tokens[batch, : int(lengths[batch].max())], _device(shard.job, alias))
                yield Shown(present[batch.numpy()].tolist(), {alias: {"tokens": cut}}, upto=done)


def by_length(lengths: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Row numbers in batches of like length; equal lengths stay in order, so the batches are always the same."""
    return torch.argsort(lengths, stable=True).split(batch_size)


def _tokenised(network: Any, texts: list[str]) -> tuple[Tensor, Tensor, int]:
    tokens, lengths = network.tokenize(texts)
    return tokens, lengths, network.cut(texts, lengths) if hasattr(network, "cut") else 0


def told_of_cuts(job: Job, plan: pa.Table) -> list[str]:
    """What to say, before anybody waits for it, of texts that are too long for a teacher: some are looked at."""
    present = plan["text"].drop_null()
    places = np.unique(np.linspace(0, max(0, len(present) - 1), _LOOKED_AT).astype(np.int64))
    texts = present.take(pa.array(places[: len(present)])).to_pylist()
    networks = {alias: job.teachers[alias].network for alias in job.passes.get("text", {}) if texts}
    found = {alias: network.cut(texts) for alias, network in networks.items() if hasattr(network, "cut")}
    return [
        f"{job.path}: {count} of {counted(len(texts), 'text')} that were looked at are longer than teacher "
        f"{alias} can read: it "
        "sees their beginnings"
        for alias, count in found.items()
        if count
    ]
