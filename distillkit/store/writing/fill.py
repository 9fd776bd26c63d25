"""A store written from start to end by one process, from rows that are there already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.format.manifest import Manifest
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter

Rows = Callable[[int, int], tuple[Mapping[str, np.ndarray], list[Failure]]]  # of planned rows first .. stop-1
_SMALL = 1 << 28  # bytes: two shards of that size can be in memory


def fill(writer: StoreWriter, rows: Rows, made_with: Mapping[str, str]) -> Manifest:
    """Write every shard that is not there yet, then the manifest. StoreError where another store lies.

    The checksum of a shard takes a core longer than writing it, so two are under way at a time unless they are large;
    what `rows` gives must stay as it is until it is asked for the next but one.
    """
    with Claims(writer.path) as claims, claims.beginning_or_end():
        if writer.previous_identity() not in (None, writer.identity):
            raise StoreError(f"{writer.path}: holds another store; move it away, or choose another place")
        writer.mend()
        if writer.finished():
            return Manifest.read(writer.path)
        writer.begin()
        at_once = 2 if writer.shard_bytes <= _SMALL else 1
        under_way: deque[Future[None]] = deque()
        with ThreadPoolExecutor(at_once, "commit") as threads:
            for shard in range(writer.shards):
                if writer.committed(shard):
                    continue
                if len(under_way) == at_once:
                    under_way.popleft().result()
                under_way.append(threads.submit(writer.commit, shard, *rows(*writer.span(shard))))
            for commit in under_way:
                commit.result()
        return writer.finish(made_with)
