"""One folder with a manifest: its files, opened lazily and only when they are as the manifest says."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.bucket.cache import hold
from distillkit.store.bucket.coming import Coming, Shelved
from distillkit.store.bucket.remote import origin
from distillkit.store.format import layout
from distillkit.store.format.encode import decode
from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.manifest import FILE_NAME, File, Manifest
from distillkit.store.format.packed import Found, Held, Opened, Packed
from distillkit.store.format.plan import INDEX
from distillkit.store.format.steps import Steps, steps_of
from distillkit.store.reading.by_need import ByNeed
from distillkit.store.reading.mapping import (
    NoMapsLeft,
    Window,
    can_be_mapped,
    can_map_all,
    map_back_to_back,
    map_file,
)
from distillkit.store.reading.table import Table
from distillkit.system.arrow import table_at, table_of
from distillkit.system.atomic import parsed_json
from distillkit.system.wording import as_word

Mark = tuple[int, int, int]
# Files of the index that are mapped; those of a store of more shards are read, which are small then, for want of maps.
MAPPED = 8192


class Volume:
    """The files of one manifest: a store has one, and each of its additions one more."""

    def __init__(self, path: Path, manifest: Manifest, mark: Mark | None = None):
        self.path, self.manifest = path, manifest
        self._mark = mark or mark_of(path)
        self._origin = origin(path)
        self._parts: dict[int, pa.Table] = {}

    def table(self, name: str) -> Table:
        """All rows of a field, mapped, not read; of a store behind a URL nothing is fetched yet."""
        field, manifest = self.manifest.fields[name], self.manifest
        places = [layout.shard_path(name, number, field) for number in range(len(manifest.shards))]
        files = {place: shard.files[place] for place, shard in zip(places, manifest.shards, strict=True)}
        region, total = manifest.rows_per_shard * field.row_bytes, manifest.rows * field.row_bytes
        coming: Shelved | None = None
        packed = Packed(self.path, name, field, manifest.rows, manifest.rows_per_shard, self._found(field))
        values: Tensor | Packed
        if self._origin is not None and can_be_mapped(len(files), region):
            shelf = Opened() if field.compression else Window(region, total)
            coming = Coming(self._origin, list(files.items()), manifest.rows_per_shard, shelf)
            values = _rows(shelf.array, field) if isinstance(shelf, Window) else packed
        elif field.compression or not can_be_mapped(len(files), region):
            self._fetch(files)
            paths = [self.file(place, record.bytes) for place, record in files.items()]
            values = packed if field.compression else _rows(map_back_to_back(paths, region, total), field)
        else:
            raw, coming = self._mapped(files, region, total)
            values = _rows(raw, field)
        steps = self.steps.get(name)
        self._refuse_another()
        return Table(self.path, name, field, manifest.rows, values, steps, coming)

    def _mapped(self, files: dict[str, File], region: int, total: int) -> tuple[np.ndarray, Shelved | None]:
        """The shards of a field as one array: all of them mapped or, of more than a process may map beside what it
        has mapped by now, each by need."""
        if can_map_all(len(files)):
            with suppress(NoMapsLeft):  # others mapped theirs meanwhile; a single shard by need tells where not
                paths = [self.file(place, record.bytes) for place, record in files.items()]
                return map_back_to_back(paths, region, total), None
        window, shards = Window(region, total), list(files.items())
        return window.array, ByNeed(shards, self.manifest.rows_per_shard, window, self.file, self._refuse_another)

    def _found(self, field: Field) -> Found:
        """Where files of a field lie that are opened at each read: those of a URL in the cache."""
        if self._origin or not field.compression:
            return Found(self.path)
        return Held(self.path, self._refuse_another)

    @cached_property
    def steps(self) -> dict[str, Steps]:
        """What the numbers of int8 fields mean."""
        return steps_of(self.path, self.manifest.fields)

    @cached_property
    def index(self) -> pa.Table:
        """key, ok, image, text, label of every row, memory-mapped."""
        return pa.concat_tables(self._index(range(len(self.manifest.shards))))

    def _index(self, shards: Iterable[int]) -> list[pa.Table]:
        """The index of some shards, each mapped when it is first wanted."""
        shards = list(shards)
        self._fetch(layout.index_path(shard) for shard in shards if shard not in self._parts)
        for shard in shards:
            if shard not in self._parts:
                self._parts[shard] = self._opened_index(shard)
        return [self._parts[shard] for shard in shards]

    def _opened_index(self, shard: int) -> pa.Table:
        name = layout.index_path(shard)
        size = self.manifest.shards[shard].files[name].bytes
        path = self.file(name, size)
        try:
            if self._origin is None:
                table = table_at(path, INDEX, mapped=len(self._parts) < MAPPED)
            else:
                with hold(path) as file:
                    table = table_of(pa.py_buffer(map_file(file, size)), INDEX)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the system's; Arrow's own have none
                raise
            raise self._damaged(path) from error
        self._refuse_another()
        if table.num_rows != self.manifest.shards[shard].rows:
            raise self._damaged(path)
        return table

    def _damaged(self, path: Path) -> StoreError:
        return StoreError(f"{path} is damaged; run: distillkit store verify {as_word(self.path)}")

    def values(self, column: str, rows: np.ndarray) -> list[Any]:
        """What the index says of rows, from the shards that hold them: their key, text, ..."""
        shards, places = np.divmod(rows, self.manifest.rows_per_shard)
        wanted = np.unique(shards).tolist()
        said = {shard: part[column] for shard, part in zip(wanted, self._index(wanted), strict=True)}
        found, shard = [], 0
        try:
            for shard, place in zip(shards.tolist(), places.tolist(), strict=True):
                found.append(said[shard][place].as_py())
        except UnicodeDecodeError as error:
            raise self._damaged(self.path / layout.index_path(shard)) from error
        return found

    @cached_property
    def ok(self) -> np.ndarray:
        """Whether each row has features: bool [rows]."""
        ok = np.ones(self.manifest.rows, bool)
        ok[self.failed] = False
        return ok

    @cached_property
    def failed(self) -> np.ndarray:
        """The rows without features, found in the shards that have some: int64 [n]."""
        some = [number for number, shard in enumerate(self.manifest.shards) if shard.ok < shard.rows]
        found = [
            number * self.manifest.rows_per_shard + np.flatnonzero(~part["ok"].to_numpy())
            for number, part in zip(some, self._index(some), strict=True)
        ]
        return np.concatenate([np.empty(0, np.int64), *found])

    def failures(self) -> list[dict[str, str]]:
        """The failure ledger: key, stage and error of every row without features."""
        names = [(layout.failures_path(number), shard) for number, shard in enumerate(self.manifest.shards)]
        self._fetch(name for name, shard in names if name in shard.files)
        ledger = [self.file(name, shard.files[name].bytes) for name, shard in names if name in shard.files]
        lines = [line for path in ledger for line in self._ledger(path)]
        self._refuse_another()
        return lines

    def _ledger(self, path: Path) -> list[dict[str, str]]:
        try:
            lines = [parsed_json(line) for line in path.read_bytes().splitlines()]
            _ = [(line["key"], line["stage"], line["error"]) for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(path) from error
        return lines

    def _fetch(self, names: Iterable[str]) -> None:
        """Of a store behind a URL, bring these files here, several at once."""
        if self._origin is not None:
            recorded = {name: file for shard in self.manifest.shards for name, file in shard.files.items()}
            self._origin.fetch({name: recorded[name] for name in names})

    def _refuse_another(self) -> None:
        """StoreError where another store has taken the place of this one since it was opened: files that are opened by
        now may be the other one's."""
        mark = mark_of(self.path)
        if mark == self._mark:
            return
        if mark is None or Manifest.read(self.path).digest != self.manifest.digest:
            raise StoreError(
                f"{self.path}: another store took its place since it was opened (it grew, or was mended); open it again"
            )
        self._mark = mark

    def file(self, name: str, size: int) -> Path:
        """The path of a file that has the size it must have. What is in it, `verify` looks at."""
        path = self.path / name
        have = path.stat().st_size if path.is_file() else -1
        if have != size:
            self._refuse_another()
            state = "is missing" if have < 0 else f"has {have} bytes instead of {size}"
            raise StoreError(f"{path} {state}; run: distillkit store verify {as_word(self.path)}")
        return path


def mark_of(store: Path) -> Mark | None:
    """By which a manifest is known again without being read; None where there is none."""
    try:
        found = (store / FILE_NAME).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _rows(raw: np.ndarray, field: Field) -> Tensor:
    """Mapped bytes as rows of a field."""
    with warnings.catch_warnings():
        # torch has no read-only tensors and says so; this table is only ever gathered from.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return decode(raw.view(DTYPES[field.dtype]).reshape(-1, *field.shape), field)
