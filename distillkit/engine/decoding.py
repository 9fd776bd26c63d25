"""Many images made ready ahead of time, by threads or by processes: in order, and never more than a few batches.

Threads share one interpreter: decoders and resizers let go of it, the little Python between them does not. From about
eight cores on, processes are faster. They write pixels into memory that they share with this process, so nothing but
row numbers and errors travels between them.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from itertools import islice
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch

from distillkit.engine.sight import Seen, Sight
from distillkit.errors import DistillkitError, SourceError
from distillkit.pixels import room
from distillkit.system.spans import Event, Record, heard, listens, recorded
from distillkit.system.workers import Apart, begin_worker

Row = tuple[str, str | None]  # key, and where the image is
Outcomes = Iterator[Seen | SourceError]


@contextmanager
def decoded(sight: Sight, rows: Iterable[Row], *, kind: str, workers: int, ahead: int) -> Iterator[Outcomes]:
    """What is seen of every row, in order, at most `ahead` of them made in advance. A damaged image is its error."""
    with (_processes if kind == "processes" else _threads)(sight, rows, workers, ahead) as outcomes:
        yield outcomes


@contextmanager
def _threads(sight: Sight, rows: Iterable[Row], workers: int, ahead: int) -> Iterator[Outcomes]:
    def look(row: Row) -> Seen | SourceError:
        try:
            return sight(*row)
        except SourceError as error:
            return error

    pool = ThreadPoolExecutor(workers)
    try:
        yield (future.result() for future in in_order(pool.submit, look, rows, ahead))
    finally:
        # On Ctrl-C what is queued is dropped: nobody waits for hundreds of images that nobody wants.
        pool.shutdown(cancel_futures=True)


def in_order(
    submit: Callable[..., Future[Any]], function: Callable[..., Any], items: Iterable[Any], depth: int
) -> Iterator[Future[Any]]:
    """Futures of `function` over `items` in order, at most `depth` of them under way: memory stays bounded."""
    waiting = iter(items)
    queue = deque(submit(function, item) for item in islice(waiting, depth))
    while queue:
        yield queue.popleft()
        queue.extend(submit(function, item) for item in islice(waiting, 1))


@contextmanager
def _processes(sight: Sight, rows: Iterable[Row], workers: int, ahead: int) -> Iterator[Outcomes]:
    slots, context = _Slots(sight, ahead + 1), Apart()
    share = max(room.limit() // workers, 1)
    begun_with = (sight, _Handle(slots.file), slots.shapes, slots.count, share, context.Lock(), listens())
    pool = ProcessPoolExecutor(workers, context, _begin, begun_with)
    try:
        numbered = enumerate(rows)
        futures = in_order(pool.submit, _look, ((number % slots.count, row) for number, row in numbered), ahead)
        yield (_received(future, slots, number % slots.count) for number, future in enumerate(futures))
    except BaseException:
        context.kill()  # they have written nothing but pixels
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        os.close(slots.file)


def _received(future: Future[Any], slots: _Slots, slot: int) -> Seen | SourceError:
    """What a worker left in its slot, copied: the slot is another image's soon."""
    try:
        error, told, *seen = future.result()
    except BrokenProcessPool as broken:
        raise DistillkitError(
            "a decoding process died, most likely for want of memory; what is committed is kept, run the same command "
            'again with fewer decode_threads, or with decode = "threads"'
        ) from broken
    heard(*told)
    if error is not None:
        return SourceError(error)
    return Seen(tuple(torch.from_numpy(view.copy()) for view in slots.at(slot)), *seen)


class _Slots:
    """Shared memory for `count` images: in each slot the pixels for every teacher, one behind the other."""

    def __init__(self, sight: Sight, count: int):
        if any(look.pixels == "nvjpeg" for look in sight.preprocess.values()):
            raise DistillkitError('decode = "processes": with teacher.pixels = "nvjpeg" the GPU decodes; use "threads"')
        views = sight.views.count if sight.views else 1
        self.shapes = [(views, 3, *look.size) for look in sight.preprocess.values()]
        self.count = count
        self.file = _nameless_file()
        os.ftruncate(self.file, _slot_bytes(self.shapes) * count)
        self.memory = mmap.mmap(self.file, 0)

    def at(self, slot: int) -> list[np.ndarray]:
        return _at(self.memory, self.shapes, slot)


def _nameless_file() -> int:
    """An open file that goes when nobody has it open. Not in /dev/shm, which containers keep at 64 MiB."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _slot_bytes(shapes: list[tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _at(memory: mmap.mmap, shapes: list[tuple[int, ...]], slot: int) -> list[np.ndarray]:
    """The arrays of one slot, on the shared memory itself."""
    views, start = [], slot * _slot_bytes(shapes)
    for shape in shapes:
        views.append(np.frombuffer(memory, np.uint8, int(np.prod(shape)), start).reshape(shape))
        start += int(np.prod(shape))
    return views


class _Handle:
    """An open file that travels with a process while it is being started."""

    def __init__(self, file: int):
        self.file = file

    def __getstate__(self) -> Any:
        return reduction.DupFd(self.file)

    def __setstate__(self, sent: Any) -> None:
        self.file = sent.detach()


_worker: dict[str, Any] = {}


def _begin(
    sight: Sight, handle: _Handle, shapes: list[tuple[int, ...]], count: int, memory: int, alone: Any, listens: bool
) -> None:
    """In a new worker: keep what it needs, leave Ctrl-C to the parent, and never outlive it. What its share of the
    memory does not hold is decoded by one of them at a time."""
    room.limit_to(memory, alone)
    begin_worker()
    torch.set_num_threads(1)
    _worker.update(sight=sight, memory=mmap.mmap(handle.file, _slot_bytes(shapes) * count), shapes=shapes)
    _worker.update(listening=recorded if listens else nullcontext)


def _look(task: tuple[int, Row]) -> tuple[Any, ...]:
    """In a worker: fill a slot with one image; its error, where its time went, what is seen of it but its pixels."""
    slot, row = task
    with _worker["listening"]() as record:
        try:
            seen = _worker["sight"](*row)
        except SourceError as error:
            return str(error), _told(record)
    for place, pixels in zip(_at(_worker["memory"], _worker["shapes"], slot), seen.pixels, strict=True):
        np.copyto(place, pixels.numpy())
    return None, _told(record), *seen[1:]


def _told(record: Record | None) -> tuple[list[Event], int]:
    return record.events if record else [], os.getpid()
