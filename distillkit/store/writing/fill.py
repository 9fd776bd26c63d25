"""A store written from start to end by one process, from rows that are there already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.store.format.classes import write_classes
from distillkit.store.format.log import note
from distillkit.store.format.manifest import Manifest
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.progress import Progress

Rows = Callable[[int, int], tuple[Mapping[str, np.ndarray], list[Failure]]]  # of planned rows first .. stop-1
_SMALL = 1 << 28  # bytes: two shards of that size can be in memory


def fill(
    writer: StoreWriter,
    rows: Rows,
    made_with: Mapping[str, str],
    say: Say | None = None,
    classes: Mapping[str, int] | None = None,
    told: Iterable[dict[str, Any]] = (),
) -> Manifest:
    """Write every shard that is not there yet, then the manifest. StoreError where another store lies. `say` hears how
    far it is. `classes`: which number each has, by name, where labels are such numbers. `told`: lines of its log.

    The checksum of a shard takes a core longer than writing it, so two are under way at a time unless they are large;
    what `rows` gives must stay as it is until it is asked for the next but one.
    """
    with Claims(writer.path) as claims, claims.beginning_or_end():
        if writer.previous_identity() not in (None, writer.identity):
            raise StoreError(f"{writer.path}: holds another store; move it away, or choose another place")
        for shard in writer.mend():
            (say or silent)(f"{writer.path}: shard {shard + 1} has lost files or is damaged; it is written again")
        if writer.finished():
            writer.tidy()
            return Manifest.read(writer.path)
        writer.begin()
        if classes:
            write_classes(writer.path, classes)
        note(writer.path, told)
        at_once = 2 if writer.shard_bytes <= _SMALL else 1
        todo = [shard for shard in range(writer.shards) if not writer.committed(shard)]
        sizes = {shard: len(range(*writer.span(shard))) for shard in todo}
        under_way: deque[tuple[int, Future[None]]] = deque()
        with (
            Progress(f"{writer.path}: rows", sum(sizes.values()), say) as progress,
            ThreadPoolExecutor(at_once, "commit") as threads,
        ):

            def wait_for_one() -> None:
                shard, commit = under_way.popleft()
                commit.result()
                progress.advance(sizes[shard])

            for shard in todo:
                if len(under_way) == at_once:
                    wait_for_one()
                under_way.append((shard, threads.submit(writer.commit, shard, *rows(*writer.span(shard)))))
            while under_way:
                wait_for_one()
        return writer.finish(made_with)
