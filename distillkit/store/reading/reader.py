"""Reading a store: rows by number or by key, as fast as memory gives them.

store = FeatureStore("stores/demo/images")
rows = store.rows_of(["1F600.png", "1F601.png"])
store.read("image", rows)          # Tensor [2, 256], as stored: raw, not normalised

for rows, features in store.blocks(["image"], 1024, seed=0, epoch=3):    # an epoch of a store larger than memory
    ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from distillkit.errors import StoreError, rename_places
from distillkit.store.bucket import cache
from distillkit.store.bucket.named import by_url
from distillkit.store.format.losses import losses_of
from distillkit.store.reading.blocks import POOL, BlockOrder, ReadAhead
from distillkit.store.reading.contents import Contents
from distillkit.store.reading.lookup import find
from distillkit.store.reading.mapping import fits_in_memory
from distillkit.store.reading.table import Table
from distillkit.system.wording import count

rename_places(by_url)  # lines and errors name a store of a bucket by its URL


class FeatureStore(Contents):
    """A complete store, opened lazily, from a path or a URL. Cheap to pickle: only its path travels.

    `teacher`: where several teachers gave an "image", the one that is meant; without it, the base's own is meant.
    `uses`: additions (folders of `added/`) that are relied on: `ok_rows` and `digest` cover them. The addition in
    which `teacher` lies always is. Every field of every addition can be read. `path` may be a view of a store: row
    numbers are the store's, and only the rows that the view means are usable.
    """

    def __init__(self, path: str | Path, teacher: str | None = None, uses: Iterable[str] = ()):
        super().__init__(path, teacher, uses)
        self._tables: dict[str, Table] = {}

    @property
    def whole(self) -> FeatureStore:
        """Of a view the store that it is of, whose rows its teacher was asked about; else itself."""
        return self if self.selection is None else FeatureStore(self.selection.store, self.alias, self.uses)

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path, str | None, tuple[str, ...]]]:
        return FeatureStore, (self.path, self.alias, self.uses)

    def relying_on(self, names: Iterable[str]) -> FeatureStore:
        """The same store, where only rows that have all of these fields are usable, be they the base's or added.

        Mined neighbours take no row away: one that nobody asked about, as it is outside of the view that was mined, has
        -1 there, which is an answer.
        """
        names = [name for name in names if self.teachers.get(self.fields[name].teacher, {}).get("kind") != "mined"]
        homes = {self._homes[name].path for name in names}
        uses = {name for name, volume in self.added.items() if volume.path in homes} | set(self.uses)
        return FeatureStore(self.path, self.alias, sorted(uses))

    def read(
        self,
        name: str,
        rows: np.ndarray | Tensor,
        out: Tensor | None = None,
        view: int | np.ndarray | Tensor | None = None,
        raw: bool = False,
    ) -> Tensor:
        """Rows of a field in the order asked for, in the stored dtype: [len(rows), *shape]; into `out` if given.

        `view`: of a per-view field, this one only, or one for each row: [len(rows), *shape[1:]]. What an int8 field
        stands for comes as float32; `raw`: its numbers instead.
        """
        return self._table(name).read(rows, out, view, raw)

    def _table(self, name: str) -> Table:
        """The rows of a field, mapped when it is first used."""
        table = self._tables.get(name)
        if table is None:
            full = self.field_name(name)
            # Of threads that map it at once, one is first.
            table = self._tables.setdefault(full, self._tables.get(full) or self._homes[full].table(full))
            self._tables[name] = table
        return table

    def populate(self, names: Sequence[str]) -> bool:
        """Read these fields into the page cache from end to end, so that random rows need no disk.

        False, and nothing is read, if they do not fit in memory together. StoreError if they lie behind a URL and are
        more than the cache may have: random rows would fetch them again and again.
        """
        tables = [self._table(name) for name in names]
        size = sum(table.coming.size for table in tables if table.coming)
        if size and size > cache.limit():
            raise StoreError(
                f"{self.path}: {', '.join(names)} are {size:,} bytes, the cache may have {cache.limit():,}; read them "
                f'in blocks (data.order = "blocks"), or set {cache.VARIABLE} higher'
            )
        for table in tables:
            table.fetch([(0, len(self))])
        if not fits_in_memory(sum(table.field.row_bytes for table in tables) * len(self)):
            return False
        self.page_in(names, 0, len(self))
        return True

    def page_in(self, names: Sequence[str], first: int, stop: int) -> None:
        """Read a run of rows of these fields into the page cache; compressed ones are not read ahead."""
        for name in names:
            self._table(name).page_in(first, stop)

    def fetch(self, names: Sequence[str], runs: Sequence[tuple[int, int]]) -> None:
        """Of fields that lie behind a URL, bring the shards of these runs of rows to the cache, several at once."""
        for name in names:
            self._table(name).fetch(runs)

    def block_order(self, seed: Sequence[int], among: np.ndarray | None = None, pool: int = POOL) -> BlockOrder:
        """Rows with features, or those of them in `among`, in block-shuffled order."""
        left_out = self.failed_rows if among is None else np.setdiff1d(np.arange(len(self)), among)
        return BlockOrder(len(self), self.manifest.rows_per_shard, left_out, pool, seed)

    def blocks(
        self, names: Sequence[str], batch_size: int, *, seed: int = 0, epoch: int = 0, pool: int = POOL
    ) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Row numbers and features of an epoch in block-shuffled order, read in long runs, a pool ahead."""
        if batch_size < 1:
            raise StoreError(f"batch_size = {batch_size}: a batch has at least one row")
        order = self.block_order([seed], pool=pool)
        ahead = ReadAhead(order, partial(self.page_in, names), partial(self.fetch, names))
        for place in range(0, len(order), batch_size):
            rows = ahead.rows(epoch, place, place + batch_size)
            yield rows, {name: self.read(name, rows) for name in names}

    @property
    def index(self) -> pa.Table:
        """key, ok, image, text, label of every row, memory-mapped. `ok` is the base's own; see `ok_rows`."""
        return self.base.index

    @cached_property
    def _ok(self) -> np.ndarray:
        """Whether each row is meant, and has features in everything that this store relies on: bool [rows]."""
        ok = np.logical_and.reduce([self.base.ok, *(volume.ok for volume in self.used.values())])
        return ok & self.selection.ok(len(self)) if self.selection else ok

    @cached_property
    def ok_rows(self) -> np.ndarray:
        """The rows that have features: int64 [n]. The others are in `failures()`."""
        return np.flatnonzero(self._ok)

    def rows_with(self, name: str) -> np.ndarray:
        """Those of `ok_rows` that have this field, int64 [n]: an image without a caption lacks its text alone."""
        # What was imported may hold features of texts that nobody knows.
        if self.field_name(name).rpartition("/")[2] != "text" or self.teacher(name).get("kind") == "imported":
            return self.ok_rows
        absent = self.index["text"].is_null() if self.index["text"].null_count else None
        return self.ok_rows if absent is None else self.ok_rows[~absent.to_numpy()[self.ok_rows]]

    @cached_property
    def failed_rows(self) -> np.ndarray:
        """The other rows, mostly few: int64 [n]. Unlike `ok_rows` it takes no memory for what has features."""
        if self.selection:
            return np.flatnonzero(~self._ok)
        return np.unique(np.concatenate([volume.failed for volume in (self.base, *self.used.values())]))

    def values(self, column: str, rows: np.ndarray) -> list[Any]:
        """What the index says of rows: their key, text, ..."""
        return self.base.values(column, rows)

    def rows_of(self, keys: list[str] | pa.Array) -> np.ndarray:
        """Row numbers of `keys`, int64; StoreError names the first key that is absent or has no features.

        Each call goes through all keys of the store once: ask for many at a time.
        """
        wanted = pa.array(keys, pa.string())
        found = find(wanted, self.index["key"])
        usable = (found >= 0) & ~np.isin(found, self.failed_rows)
        if not usable.all():
            missing = int((~usable).sum())
            place = int(np.argmin(usable))
            first = wanted[place].as_py()
            why = "it failed, or is not in this view" if found[place] >= 0 else "there is no such key"
            raise StoreError(
                f"{self.path}: no features for {missing} of {count(len(wanted), 'key')}, the first is {first!r}: "
                f"{why}; leave them out"
            )
        return found

    def losses(self) -> list[dict[str, str]]:
        """Key, stage and error of what was left out of rows that have features: their caption, or their label."""
        told = losses_of(self.base.path)
        if "text" not in self.own_fields:
            return told
        known = {loss["key"] for loss in told if loss["stage"] == "text"}
        silent = self.values("key", np.setdiff1d(self.ok_rows, self.rows_with("text")))
        return told + [
            {"key": key, "stage": "text", "error": "the sample has no text; its image is kept"}
            for key in silent
            if key not in known
        ]

    def failures(self) -> list[dict[str, str]]:
        """The failure ledger: key, stage and error of every row without features, here and in the additions used."""
        lines = [line for volume in (self.base, *self.used.values()) for line in volume.failures()]
        if self.selection is None:
            return lines
        failed = np.setdiff1d(self.selection.rows, self.ok_rows)
        keys = set(self.index["key"].take(pa.array(failed)).to_pylist())
        return [line for line in lines if line["key"] in keys]


def store_or_none(path: str | Path) -> FeatureStore | None:
    """The store at a path or a URL; None where there is none that can be read, and whoever asks can do without."""
    try:
        return FeatureStore(path)
    except StoreError:
        return None
