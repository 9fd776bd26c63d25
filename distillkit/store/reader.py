"""Reading a store: rows by number or by key, as fast as memory gives them.

store = FeatureStore("stores/demo/images")
rows = store.rows_of(["1F600.png", "1F601.png"])
store.read("image", rows)          # Tensor [2, 256], as stored: raw, not normalised
"""

from __future__ import annotations

import json
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store import layout
from distillkit.store.manifest import Field, Manifest, digest
from distillkit.store.mapping import map_back_to_back


class FeatureStore:
    """A complete store, opened lazily. Cheap to pickle: only its path travels.

    `teacher`: where several teachers gave an "image", the one that is meant; without it, such a name is refused.
    """

    def __init__(self, path: str | Path, teacher: str | None = None):
        self.path, self.alias = Path(path), teacher
        self.manifest = Manifest.read(self.path)
        if teacher not in (None, *self.manifest.teachers):
            raise StoreError(f"{self.path}: no teacher {teacher!r}; it has: {', '.join(self.manifest.teachers)}")
        self._tables: dict[str, Tensor] = {}

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path, str | None]]:
        return FeatureStore, (self.path, self.alias)

    def __len__(self) -> int:
        """Planned rows, failed ones included: row numbers run from 0 to here."""
        return self.manifest.rows

    def field_name(self, name: str) -> str:
        """The full name of a field: "image" is enough where one teacher is meant, or only one gave an image field."""
        fields = self.manifest.fields
        meant = [full for full, field in fields.items() if self.alias in (None, field.teacher)]
        found = [full for full in fields if name == full] or [full for full in meant if name == full.split("/", 1)[1]]
        if len(found) == 1:
            return found[0]
        problem = "no field" if not found else f"several fields ({', '.join(found)}) for"
        raise StoreError(f"{self.path}: {problem} {name!r}; it has: {', '.join(fields)}")

    def field(self, name: str) -> Field:
        """Teacher, row shape and dtype of a field."""
        return self.manifest.fields[self.field_name(name)]

    def teacher(self, name: str) -> dict[str, Any]:
        """The fingerprint of the teacher that made a field."""
        return self.manifest.teachers[self.field(name).teacher]

    def read(self, name: str, rows: np.ndarray | Tensor, out: Tensor | None = None) -> Tensor:
        """Rows of a field in the order asked for, in the stored dtype: [len(rows), *shape]; into `out` if given."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = self._table(self.field_name(name))
        try:
            return torch.index_select(table, 0, index, out=out)
        except (IndexError, RuntimeError) as error:
            asked = f"rows {int(index.min())}..{int(index.max())}" if len(index) else "no rows"
            raise StoreError(f"{self.path}: {asked} asked for, it has {len(self)} ({error})") from error

    def _table(self, full_name: str) -> Tensor:
        if full_name not in self._tables:
            self._tables[full_name] = self._map(full_name)
        return self._tables[full_name]

    def _map(self, full_name: str) -> Tensor:
        field, manifest = self.manifest.fields[full_name], self.manifest
        paths = []
        for number, shard in enumerate(manifest.shards):
            size = layout.shard_size(shard.rows, manifest.rows_per_shard, field.shape, field.dtype)
            paths.append(self._file(layout.shard_path(full_name, number, field.shape), size))
        size = layout.row_bytes(field.shape, field.dtype)
        raw = map_back_to_back(paths, manifest.rows_per_shard * size, manifest.rows * size)
        with warnings.catch_warnings():
            # torch has no read-only tensors and says so; this table is only ever gathered from.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(raw.view(layout.DTYPES[field.dtype]).reshape(manifest.rows, *field.shape))

    @cached_property
    def index(self) -> pa.Table:
        """key, ok, image, text, label of every row, memory-mapped."""
        parts = []
        for number, shard in enumerate(self.manifest.shards):
            name = layout.index_path(number)
            path = self._file(name, shard.files[name].bytes)
            try:
                parts.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
            except pa.ArrowException as error:
                raise StoreError(f"{path} is damaged; run: distillkit store verify {self.path}") from error
        return pa.concat_tables(parts)

    def _file(self, name: str, size: int) -> Path:
        """The path of a file that has the size it must have. What is in it, `verify` looks at."""
        path = self.path / name
        have = path.stat().st_size if path.is_file() else -1
        if have != size:
            state = "is missing" if have < 0 else f"has {have} bytes instead of {size}"
            raise StoreError(f"{path} {state}; run: distillkit store verify {self.path}")
        return path

    @cached_property
    def ok_rows(self) -> np.ndarray:
        """The rows that have features: int64 [n]. The others are in `failures()`."""
        return np.flatnonzero(self.index["ok"].to_numpy())

    def rows_of(self, keys: list[str] | pa.Array) -> np.ndarray:
        """Row numbers of `keys`, int64; StoreError names the first key that is absent or has no features."""
        wanted = pa.array(keys, pa.string())
        found = pc.index_in(wanted, value_set=self.index["key"].combine_chunks())
        usable = pc.fill_null(pc.take(self.index["ok"].combine_chunks(), found), False).to_numpy(zero_copy_only=False)
        if not usable.all():
            missing = int((~usable).sum())
            first = wanted[int(np.argmin(usable))].as_py()
            raise StoreError(f"{self.path}: no features for {missing} of {len(wanted)} keys, the first is {first!r}")
        return found.to_numpy().astype(np.int64)

    def failures(self) -> list[dict[str, str]]:
        """The failure ledger: key, stage and error of every row without features."""
        names = [(layout.failures_path(number), shard) for number, shard in enumerate(self.manifest.shards)]
        ledger = [self._file(name, shard.files[name].bytes) for name, shard in names if name in shard.files]
        return [json.loads(line) for path in ledger for line in path.read_bytes().splitlines()]

    @property
    def root(self) -> Path | None:
        """The folder below which the store's images lie."""
        root = self.manifest.source["root"]
        return None if root is None else Path(root)


def refuse_other_teacher(first: FeatureStore, first_field: str, second: FeatureStore, second_field: str) -> None:
    """StoreError unless both fields were made by the same teacher; both values are named."""
    one, other = first.teacher(first_field), second.teacher(second_field)
    if digest(one) == digest(other):
        return
    name = next(key for key in {**one, **other} if one.get(key) != other.get(key))
    raise StoreError(
        f"{first.path} and {second.path} were made by different teachers ({name}: {one.get(name)!r} against "
        f"{other.get(name)!r}); extract both with one teacher"
    )
