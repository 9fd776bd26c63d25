"""Reading a store: rows by number or by key, as fast as memory gives them.

store = FeatureStore("stores/demo/images")
rows = store.rows_of(["1F600.png", "1F601.png"])
store.read("image", rows)          # Tensor [2, 256], as stored: raw, not normalised

for rows, features in store.blocks(["image"], 1024, seed=0, epoch=3):    # an epoch of a store larger than memory
    ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.bucket import cache
from distillkit.store.bucket.remote import local
from distillkit.store.format.field import PARAMETERS, Field
from distillkit.store.format.manifest import Manifest, digest
from distillkit.store.reading.additions import FOLDER, additions
from distillkit.store.reading.blocks import POOL, BlockOrder, ReadAhead
from distillkit.store.reading.lookup import find
from distillkit.store.reading.mapping import fits_in_memory
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.store.reading.table import Table
from distillkit.store.reading.volume import Volume


@dataclass(frozen=True)
class Views:
    """How many views of each image a store has, and the columns of its "views/parameters"; none if it stores none."""

    count: int
    columns: tuple[str, ...]


class FeatureStore:
    """A complete store, opened lazily, from a path or a URL. Cheap to pickle: only its path travels.

    `teacher`: where several teachers gave an "image", the one that is meant; without it, the base's own is meant.
    `uses`: additions (folders of `added/`) that are relied on: `ok_rows` and `digest` cover them. The addition in
    which `teacher` lies always is. Every field of every addition can be read. `path` may be a view of a store: row
    numbers are the store's, and only the rows that the view means are usable.
    """

    def __init__(self, path: str | Path, teacher: str | None = None, uses: Iterable[str] = ()):
        self.path, self.alias = local(path), teacher
        self.selection = Selection(self.path) if (self.path / VIEW).is_file() else None
        home = self.selection.store if self.selection else self.path
        self.manifest = self.selection.manifest() if self.selection else Manifest.read(home)
        added = additions(home, self.manifest)
        self.base = Volume(home, self.manifest)
        self.added = {name: Volume(home / FOLDER / name, manifest) for name, manifest in added.items()}
        volumes = [self.base, *self.added.values()]
        self._homes: dict[str, Volume] = {}
        for volume in volumes:
            for name in volume.manifest.fields:
                self._homes.setdefault(name, volume)
        self.fields = {name: volume.manifest.fields[name] for name, volume in self._homes.items()}
        self.teachers = {alias: facts for volume in volumes for alias, facts in volume.manifest.teachers.items()}
        if teacher not in (None, *self.teachers):
            raise StoreError(f"{self.path}: no teacher {teacher!r}; it has: {', '.join(self.teachers)}")
        self.uses = tuple(uses)
        for name in self.uses:
            if name not in self.added:
                raise StoreError(f"{self.path}: no addition {name!r}; it has: {', '.join(self.added) or 'none'}")
        self._tables: dict[str, Table] = {}

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path, str | None, tuple[str, ...]]]:
        return FeatureStore, (self.path, self.alias, self.uses)

    def __len__(self) -> int:
        """Planned rows, failed ones included: row numbers run from 0 to here."""
        return self.manifest.rows

    def relying_on(self, names: Iterable[str]) -> FeatureStore:
        """The same store, where only rows that have all of these fields are usable, be they the base's or added."""
        homes = {self._homes[name].path for name in names}
        uses = {name for name, volume in self.added.items() if volume.path in homes} | set(self.uses)
        return FeatureStore(self.path, self.alias, sorted(uses))

    def field_name(self, name: str) -> str:
        """The full name of a field: "image" is enough where one teacher is meant, or only one gave an image field.

        What was added later never changes which field a short name means.
        """
        if name in self.fields:
            return name
        meant = [full for full, field in self.fields.items() if self.alias in (None, field.teacher)]
        found = [full for full in meant if name == full.split("/")[1]]
        found = [full for full in found if full in self.manifest.fields] or found
        if len(found) == 1:
            return found[0]
        problem = "no field" if not found else f"several fields ({', '.join(found)}) for"
        raise StoreError(f"{self.path}: {problem} {name!r}; it has: {', '.join(self.fields)}")

    @property
    def own_fields(self) -> dict[str, Field]:
        """By short name, what the teacher that is meant gave; without one, what the base has."""
        meant = self.manifest.fields if self.alias is None else self.fields
        return {full.split("/")[1]: field for full, field in meant.items() if self.alias in (None, field.teacher)}

    @property
    def feature_names(self) -> list[str]:
        """The full names of all that a network said: neither row numbers nor small facts nor parameters of views."""
        facts = ("int32", "uint8")
        return [name for name, field in self.fields.items() if field.dtype not in facts and name != PARAMETERS]

    def field(self, name: str) -> Field:
        """Teacher, row shape and dtype of a field."""
        return self.fields[self.field_name(name)]

    def teacher(self, name: str) -> dict[str, Any]:
        """The fingerprint of the teacher that made a field."""
        return self.teachers[self.field(name).teacher]

    @property
    def views(self) -> Views:
        """How many views a row of a per-view field has, and what "views/parameters" says of each."""
        return Views(self.manifest.views.get("count", 1), tuple(self.manifest.views.get("columns", ())))

    @property
    def digest(self) -> str:
        """What names this store elsewhere: the digest of its manifest, with those of the additions it relies on."""
        used = {name: volume.manifest.digest for name, volume in self._used.items()}
        base = self.selection.digest if self.selection else self.manifest.digest
        return digest({"base": base, "added": used}) if used else base

    @cached_property
    def _used(self) -> dict[str, Volume]:
        """The additions that this store relies on."""
        meant = {name for name, volume in self.added.items() if self.alias in volume.manifest.teachers}
        return {name: volume for name, volume in self.added.items() if name in meant or name in self.uses}

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
        ok = np.logical_and.reduce([self.base.ok, *(volume.ok for volume in self._used.values())])
        return ok & self.selection.ok(len(self)) if self.selection else ok

    @cached_property
    def ok_rows(self) -> np.ndarray:
        """The rows that have features: int64 [n]. The others are in `failures()`."""
        return np.flatnonzero(self._ok)

    @cached_property
    def failed_rows(self) -> np.ndarray:
        """The other rows, mostly few: int64 [n]. Unlike `ok_rows` it takes no memory for what has features."""
        if self.selection:
            return np.flatnonzero(~self._ok)
        return np.unique(np.concatenate([volume.failed for volume in (self.base, *self._used.values())]))

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
            first = wanted[int(np.argmin(usable))].as_py()
            raise StoreError(f"{self.path}: no features for {missing} of {len(wanted)} keys, the first is {first!r}")
        return found

    def failures(self) -> list[dict[str, str]]:
        """The failure ledger: key, stage and error of every row without features, here and in the additions used."""
        lines = [line for volume in (self.base, *self._used.values()) for line in volume.failures()]
        if self.selection is None:
            return lines
        failed = np.setdiff1d(self.selection.rows, self.ok_rows)
        keys = set(self.index["key"].take(pa.array(failed)).to_pylist())
        return [line for line in lines if line["key"] in keys]

    @property
    def root(self) -> Path | None:
        """The folder below which the store's images lie."""
        root = self.manifest.source["root"]
        return None if root is None else Path(root)


def refuse_other_teacher(first: FeatureStore, first_field: str, second: FeatureStore, second_field: str) -> None:
    """StoreError unless both fields were made by the same teacher; both values are named.

    Of a teacher whose features were imported not all is known; it must agree in what is, and its model must be.
    """
    one, other = first.teacher(first_field), second.teacher(second_field)
    imported = "imported" in (one.get("kind"), other.get("kind")) and one != other
    known = [key for key in one | other if not imported or (key != "kind" and key in one and key in other)]
    name = next((key for key in known if one.get(key) != other.get(key)), None)
    if name is None:
        return
    raise StoreError(
        f"{first.path} and {second.path} were made by different teachers ({name}: {one.get(name)!r} against "
        f"{other.get(name)!r}); extract both with one teacher"
    )
