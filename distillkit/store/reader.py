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
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.additions import FOLDER, additions
from distillkit.store.blocks import POOL, BlockOrder, ReadAhead
from distillkit.store.field import PARAMETERS, Field
from distillkit.store.gather import gather
from distillkit.store.lookup import find
from distillkit.store.manifest import Manifest, digest
from distillkit.store.mapping import fits_in_memory, page_in
from distillkit.store.packed import Packed
from distillkit.store.remote import local
from distillkit.store.selection import FILE_NAME as VIEW
from distillkit.store.selection import Selection
from distillkit.store.steps import Steps
from distillkit.store.volume import Volume


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
        self._tables: dict[str, Tensor | Packed] = {}
        self._steps: dict[str, Steps] = {}

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
        index, table = self._numbers(rows), self._table(name)
        if isinstance(table, Packed):
            index, table = np.arange(len(index)), table.rows(index)
        if view is not None:
            index, table = self._flat(name, index, view), table.flatten(0, 1)
        shape, steps = (len(index), *table.shape[1:]), None if raw else self._steps.get(name)
        out = self._room(name, shape, table.dtype if steps is None else torch.float32, out)
        if steps is None:
            return gather(table, index, out)
        return steps.decode(gather(table, index, torch.empty(shape, dtype=table.dtype)), out)

    def _room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, out: Tensor | None) -> Tensor:
        """Memory for what is read: `out`, if it is as it must be."""
        if out is None:
            return torch.empty(shape, dtype=dtype)
        if out.shape != shape or out.dtype != dtype or out.is_cuda or not out.is_contiguous():
            want = f"a contiguous {dtype} {list(shape)} in memory"
            raise StoreError(f"{self.path}: {name!r} is read into {want}, not into {out.dtype} {list(out.shape)}")
        return out

    def _table(self, name: str) -> Tensor | Packed:
        """All rows of a field, mapped when it is first used, or compressed."""
        table = self._tables.get(name)
        if table is None:
            full = self.field_name(name)
            volume = self._homes[full]
            if self.fields[full].dtype == "int8":
                self._steps[name] = volume.steps[full]
            table = self._tables.setdefault(name, volume.table(full))  # of threads that map it at once, one is first
        return table

    def _numbers(self, rows: np.ndarray | Tensor) -> np.ndarray:
        """Row numbers as int64, all of rows that are there; a mask or fractions would become other rows."""
        index = np.asarray(rows)
        if index.ndim != 1 or (len(index) and index.dtype.kind not in "iu"):
            raise StoreError(
                f"{self.path}: rows are a list of whole numbers, not {index.dtype} {list(index.shape)}; "
                "of a mask take np.flatnonzero"
            )
        index = np.ascontiguousarray(index, np.int64)
        if len(index) and index.view(np.uint64).max() >= len(self):  # below 0 is beyond all others
            raise StoreError(f"{self.path}: rows {index.min()}..{index.max()} asked for, it has {len(self)}")
        return index

    def _flat(self, name: str, rows: np.ndarray, view: int | np.ndarray | Tensor) -> np.ndarray:
        """Where one view of each row is when every view is a row of its own."""
        field, views = self.field(name), np.asarray(view)
        if not field.per_view:
            raise StoreError(f"{self.path}: {name!r} has one value for all views; read it without `view`")
        if views.shape not in ((), rows.shape) or not ((views >= 0) & (views < field.views)).all():
            have = f"0 to {field.views - 1}, one for all rows or for each"
            raise StoreError(f"{self.path}: view {view} of {name!r} asked for, it has {have}")
        return rows * field.views + views

    def populate(self, names: Sequence[str]) -> bool:
        """Read these fields into the page cache from end to end, so that random rows need no disk.

        False, and nothing is read, if they do not fit in memory together.
        """
        if not fits_in_memory(sum(self.field(name).row_bytes for name in names) * len(self)):
            return False
        self.page_in(names, 0, len(self))
        return True

    def page_in(self, names: Sequence[str], first: int, stop: int) -> None:
        """Read a run of rows of these fields into the page cache; compressed ones are not read ahead."""
        for name in names:
            table = self._table(name)
            if isinstance(table, Packed):
                continue
            try:
                page_in(table[first:stop])
            except OSError as error:
                run = f"rows {first} to {stop} of {name!r}"
                raise StoreError(f"{self.path}: {run} cannot be read ({error.strerror}); is the disk well?") from error

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
        ahead = ReadAhead(order, partial(self.page_in, names))
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
        """What the index says of rows: their key, text, ... Of a table in hundreds of files, `take` is slow."""
        said = self.index[column]
        return [said[row].as_py() for row in rows.tolist()]

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
