"""Single values of Parquet columns, by way of the row groups that were read last."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.sources._places import Place

# Decoded columns kept at most; one that is larger is kept alone, for nothing smaller than a row group can be read.
_KEPT_BYTES = 256 * 2**20


class RowGroups:
    """A cache of decoded row groups, safe to use from several threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = Lock()
        self._groups: OrderedDict[tuple[str, str, int], pa.ChunkedArray] = OrderedDict()
        self._starts: dict[str, list[int]] = {}

    def __reduce__(self) -> tuple[type[RowGroups], tuple[Place]]:
        return RowGroups, (self._place,)  # into another process goes no cache

    def value(self, file: str, column: str, row: int) -> Any:
        """One value as Python sees it; ValueError where the file has no such row."""
        # Neighbours in a batch lie in one group: the others wait for it rather than read it too.
        with self._lock:
            if file not in self._starts:
                footer = pq.read_metadata(self._place.table(file))
                sizes = (footer.row_group(group).num_rows for group in range(footer.num_row_groups))
                self._starts[file] = [0, *accumulate(sizes)]
            starts = self._starts[file]
            if row >= starts[-1] or starts != sorted(starts):
                raise ValueError(f"the file has {starts[-1]} rows")
            group = bisect_right(starts, row) - 1
            values = self._group(file, column, group)
        if len(values) != starts[group + 1] - starts[group]:
            raise ValueError(f"row group {group} has {len(values)} rows, not those that its footer promises")
        return values[row - starts[group]].as_py()

    def _group(self, file: str, column: str, group: int) -> pa.ChunkedArray:
        place = (file, column, group)
        if place not in self._groups:
            with pq.ParquetFile(self._place.table(file)) as table:
                self._groups[place] = table.read_row_group(group, columns=[column], use_threads=False)[column]
            while len(self._groups) > 1 and sum(kept.nbytes for kept in self._groups.values()) > _KEPT_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end(place)
        return self._groups[place]
