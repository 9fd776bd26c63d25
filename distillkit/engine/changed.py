"""Images whose files are others than when a teacher was shown them, under the same names.

Size and time of a file are the cheap question. Where the size is the same and the time is not, as of a copy of the
whole corpus, the file's content is the answer.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.callable import Say
from distillkit.errors import NotNow, SourceError, StoreError, in_the_end
from distillkit.store.writing import stamps as stamps_of
from distillkit.store.writing.stamps import Stamp
from distillkit.system.opening import blame_the_file
from distillkit.system.progress import Progress
from distillkit.system.wording import count

_THREADS = 16  # what a file server takes to answer is waited for by all of them
_AT_ONCE = 1024  # files that one of them asks about
_PATIENCE = 10.0  # seconds of reading files, where nobody asked for it

Rows = list[int]  # of one image, within its shard


@dataclass
class Looked:
    """What became of the images of a shard, each by its rows. `gone` are those that nobody can look at, too."""

    changed: list[Rows] = field(default_factory=list)
    copied: list[tuple[Rows, Stamp]] = field(default_factory=list)  # another time, the same content; what it is now
    unread: list[Rows] = field(default_factory=list)  # another time, the same size
    gone: list[Rows] = field(default_factory=list)


def looked(
    store: Path, source: Any, plan: pa.Table, rows_per_shard: int, patience: float, say: Say
) -> Iterator[tuple[int, Looked]]:
    """Number of each shard that has stamps, and what the source has of its images now. StoreError for damaged stamps.

    `patience`: seconds of reading, spread over the shards, so that a corpus of which all was copied is looked at all
    over.
    """
    spent, shards = 0.0, -(-plan.num_rows // rows_per_shard)
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        Progress(f"{in_the_end(store)}: looking for images that changed, rows", plan.num_rows, say) as progress,
    ):
        for shard in range(shards):
            progress.advance(shard * rows_per_shard - progress.done)  # rows without a stamp are not looked at
            rows = plan.slice(shard * rows_per_shard, rows_per_shard)
            stamps = stamps_of.kept(store, shard, rows.num_rows)
            if stamps is None:
                continue
            found, doubtful = _compared(source, _images(rows, stamps), pool, progress)
            started = time.perf_counter()
            _read(source, doubtful, found, started + patience * (shard + 1) / shards - spent, progress)
            spent += time.perf_counter() - started
            yield shard, found


def _images(plan: pa.Table, stamps: np.ndarray) -> dict[tuple[str, Stamp], Rows]:
    """Rows by name and stamp of their image, which several may share."""
    rows = np.flatnonzero(stamps["bytes"] >= 0)
    images: dict[tuple[str, Stamp], Rows] = {}
    names = plan["image"].take(pa.array(rows)).to_pylist()
    for row, name, was in zip(rows.tolist(), names, stamps[rows].tolist(), strict=True):
        images.setdefault((name, Stamp(*was)), []).append(row)
    return images


def _compared(
    source: Any, images: dict[tuple[str, Stamp], Rows], pool: ThreadPoolExecutor, progress: Progress
) -> tuple[Looked, list[tuple[str, Stamp, Rows]]]:
    """By size and time; the others are to be read."""
    found, doubtful = Looked(), []
    every = list(images.items())
    pieces = [every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE)]
    answers = pool.map(lambda piece: [_now(source, name) for (name, _), _ in piece], pieces)
    for piece, answer in zip(pieces, answers, strict=True):
        settled = 0
        for ((name, was), rows), now in zip(piece, answer, strict=True):
            settled += len(rows)
            if now is None:
                found.gone.append(rows)
            elif now[0] != was.bytes:
                found.changed.append(rows)
            elif now[1] != was.time:
                doubtful.append((name, was, rows))
                settled -= len(rows)
        progress.advance(settled)
    return found, doubtful


def _file(source: Any, name: str) -> Path | None:
    """Where an image lies, if it is a file of its own that the source still has."""
    try:
        found = source.read(name)
    except SourceError:
        return None
    return found if isinstance(found, Path) else None


def _now(source: Any, name: str) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none that can be asked."""
    path = _file(source, name)
    try:
        stat = path.stat() if path else None
    except OSError as error:
        blame_the_file(error, path)
        return None
    return None if stat is None else (stat.st_size, stat.st_mtime_ns)


def _read(
    source: Any, doubtful: list[tuple[str, Stamp, Rows]], found: Looked, until: float, progress: Progress
) -> None:
    """By content, in random order, as long as there is time."""
    for name, was, rows in random.Random(0).sample(doubtful, len(doubtful)):
        progress.advance(len(rows))
        if time.perf_counter() > until:
            found.unread.append(rows)
            continue
        path = _file(source, name)
        read = stamps_of.read_stamped(path) if path else None
        if read is None:
            found.gone.append(rows)
        elif read[1].content != was.content:
            found.changed.append(rows)
        else:
            found.copied.append((rows, read[1]))


def all_looked(store: Path, source: Any, plan: pa.Table, rows_per_shard: int, say: Say) -> Iterator[tuple[int, Looked]]:
    """The same, and every file is read whose time is another."""
    return looked(store, source, plan, rows_per_shard, math.inf, say)


def told_of_changes(store: Path, source: Any, plan: pa.Table, rows_per_shard: int, say: Say) -> list[str]:
    """What to say of a finished store whose images are not what they were: a look at each file's date, and some
    seconds of reading at most."""
    numbers, first, changed = dict.fromkeys(("copied", "unread", "gone"), 0), dict[str, str](), set[str]()
    try:
        for shard, found in looked(store, source, plan, rows_per_shard, _PATIENCE, say):
            rows = plan.slice(shard * rows_per_shard, rows_per_shard)
            changed |= {rows["image"][one[0]].as_py() for one in found.changed}  # of several shards, it may be
            for kind in ("changed", "unread", "gone"):
                if images := getattr(found, kind):
                    first.setdefault(kind, rows["image"][min(images)[0]].as_py())
            for kind in numbers:
                numbers[kind] += len(getattr(found, kind))
    except (StoreError, NotNow) as error:
        return [str(error)]
    return [f"{store}: {line}" for line in _lines(numbers | {"changed": len(changed)}, first)]


def _lines(numbers: dict[str, int], first: dict[str, str]) -> Iterator[str]:
    changed, unread, gone = (numbers[kind] for kind in ("changed", "unread", "gone"))
    if changed:
        yield f"{count(changed, 'image')} changed since (first: {first['changed']}): --retry-changed does them again"
    if unread:
        same = (
            f"; of {count(numbers['copied'], 'other')} like that the content is the same" if numbers["copied"] else ""
        )
        yield (
            f"{count(unread, 'image')} may have changed since (first: {first['unread']}): of the same size and another "
            f"date{same}. --retry-changed reads them all, and does those again that are others"
        )
    if gone:
        yield told_of_gone(gone, first["gone"])


def told_of_gone(number: int, first: str) -> str:
    """Of images that are neither changed nor the same: nobody can look at them."""
    return (
        f"{count(number, 'image')} cannot be found or read now (first: {first}): what was said of them stays; bring "
        "them back, then --retry-changed looks whether they changed"
    )
