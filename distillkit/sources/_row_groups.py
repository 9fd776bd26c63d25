"""Single values of Parquet columns, by way of the row groups that were read last.

Nothing smaller than a row group can be found in a file. One that fits into memory is read as a whole; one that does not
is read a few rows at a time, so that rows asked for in order cost it once, and no more memory than is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.sources._places import Place
from distillkit.system.wording import count

_KEPT_BYTES = 256 * 2**20  # decoded values that are kept
_BATCH_BYTES = 4 * 2**20  # decoded at a time, about
_OPEN = 4  # row groups that are read piece by piece at the same time
_BUFFER = 8 * 2**20  # of a compressed column that is read so


class RowGroups:
    """A cache of decoded values, safe to use from several threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = Lock()
        self._groups: OrderedDict[tuple[str, str, int], _Group] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str, int, int], pa.Array] = OrderedDict()
        self._bytes = 0
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
                raise ValueError(f"the file has {count(starts[-1], 'row')}")
            number = bisect_right(starts, row) - 1
            values, place = self._batch((file, column, number), row - starts[number])
        return values[place].as_py()

    def _batch(self, whose: tuple[str, str, int], row: int) -> tuple[pa.Array, int]:
        """The values that were read together with a row of a group, and the row's place among them."""
        group = self._groups.get(whose)
        start = group.start_of(row) if group else None
        if start is not None and (*whose, start) not in self._kept:
            group, start = None, None  # it was read and let go: from the beginning again
        if group is None:
            group = self._opened(whose)
        while start is None or (group.small and not group.done and group.bytes < _KEPT_BYTES // 2):
            read_from, values = group.read()
            self._keep((*whose, read_from), values)
            start = group.start_of(row)
        self._groups.move_to_end(whose)
        self._kept.move_to_end((*whose, start))
        return self._kept[(*whose, start)], row - start

    def _opened(self, whose: tuple[str, str, int]) -> _Group:
        file, column, number = whose
        self._groups.pop(whose, None)
        group = self._groups[whose] = _Group(self._place.table(file), column, number)
        under_way = [one for one, other in self._groups.items() if not other.done]
        for one in under_way[:-_OPEN]:
            self._groups.pop(one).file.close()
        return group

    def _keep(self, place: tuple[str, str, int, int], values: pa.Array) -> None:
        self._let_go(place)
        self._kept[place] = values
        self._bytes += values.nbytes
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._let_go(next(iter(self._kept)))

    def _let_go(self, place: tuple[str, str, int, int]) -> None:
        values = self._kept.pop(place, None)
        self._bytes -= 0 if values is None else values.nbytes


class _Group:
    """One column of a row group on its way through memory.

    `starts`: where each batch began, and what comes next; `bytes`: of the values so far. `small`: it fits as a whole.
    """

    def __init__(self, file: Any, column: str, number: int):
        self.number = number
        footer = pq.read_metadata(file).row_group(number)
        leaves = [footer.column(at) for at in range(footer.num_columns)]
        leaves = [one for one in leaves if one.path_in_schema.split(".")[0] == column]
        size = sum(one.total_uncompressed_size for one in leaves)
        self.rows, self.bytes, self.small = footer.num_rows, 0, size <= _KEPT_BYTES // 2
        self.file = pq.ParquetFile(file, buffer_size=0 if self.small else _BUFFER)
        batch = min(max(_BATCH_BYTES * self.rows // max(size, 1), 16), 64)
        if any("DICTIONARY" in encoding for one in leaves for encoding in one.encodings):
            # A value that is stored once may be that of every row: no more of them than would fit if all were as large.
            batch = min(batch, max(_KEPT_BYTES // 4 // max(size, 1), 1))
        self.batches = self.file.iter_batches(batch, row_groups=[number], columns=[column], use_threads=False)
        self.starts = [0]

    def start_of(self, row: int) -> int | None:
        """Where the batch of a row began, if it was read."""
        return self.starts[bisect_right(self.starts, row) - 1] if row < self.starts[-1] else None

    def read(self) -> tuple[int, pa.Array]:
        """The next batch, and the row that it begins at; ValueError where the footer promised more rows."""
        batch = next(self.batches, None)
        if batch is None or self.starts[-1] + len(batch) > self.rows:
            found = self.starts[-1] + (0 if batch is None else len(batch))
            raise ValueError(f"row group {self.number} has {count(found, 'row')}, not those that its footer promises")
        start = self.starts[-1]
        self.starts.append(start + len(batch))
        self.bytes += batch.nbytes
        if self.done:
            self.file.close()
        return start, batch.column(0)

    @property
    def done(self) -> bool:
        """Whether all of it was read."""
        return self.starts[-1] == self.rows
