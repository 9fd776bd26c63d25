"""A store written from start to end by one process, from rows that are there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.claims import Claims
from distillkit.store.manifest import Manifest
from distillkit.store.writer import Failure, StoreWriter

Rows = Callable[[int, int], tuple[Mapping[str, np.ndarray], list[Failure]]]  # of planned rows first .. stop-1


def fill(writer: StoreWriter, rows: Rows, made_with: Mapping[str, str]) -> Manifest:
    """Write every shard that is not there yet, then the manifest. StoreError where another store lies."""
    with Claims(writer.path) as claims, claims.beginning_or_end():
        if writer.previous_identity() not in (None, writer.identity):
            raise StoreError(f"{writer.path}: holds another store; move it away, or choose another place")
        writer.mend()
        if writer.finished():
            return Manifest.read(writer.path)
        writer.begin()
        for shard in range(writer.shards):
            if not writer.committed(shard):
                writer.commit(shard, *rows(*writer.span(shard)))
        return writer.finish(made_with)
