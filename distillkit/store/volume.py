"""One folder with a manifest: its files, opened lazily and only when they are as the manifest says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store import layout
from distillkit.store.encode import decode
from distillkit.store.field import DTYPES
from distillkit.store.manifest import Manifest
from distillkit.store.mapping import map_back_to_back
from distillkit.store.packed import Packed
from distillkit.store.remote import origin
from distillkit.store.steps import Steps, steps_of


class Volume:
    """The files of one manifest: a store has one, and each of its additions one more."""

    def __init__(self, path: Path, manifest: Manifest):
        self.path, self.manifest = path, manifest
        self._origin = origin(path)

    def table(self, name: str) -> Tensor | Packed:
        """All rows of a field, mapped, not read: [rows, *shape] in the field's dtype. Compressed ones as `Packed`."""
        field, manifest = self.manifest.fields[name], self.manifest
        names = [layout.shard_path(name, number, field) for number in range(len(manifest.shards))]
        self._fetch(names)
        recorded = zip(names, manifest.shards, strict=True)
        paths = [self.file(place, shard.files[place].bytes) for place, shard in recorded]
        if field.compression:
            return Packed(self.path, name, field, manifest.rows, manifest.rows_per_shard)
        raw = map_back_to_back(paths, manifest.rows_per_shard * field.row_bytes, manifest.rows * field.row_bytes)
        with warnings.catch_warnings():
            # torch has no read-only tensors and says so; this table is only ever gathered from.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return decode(raw.view(DTYPES[field.dtype]).reshape(manifest.rows, *field.shape), field)

    @cached_property
    def steps(self) -> dict[str, Steps]:
        """What the numbers of int8 fields mean."""
        return steps_of(self.path, self.manifest.fields)

    @cached_property
    def index(self) -> pa.Table:
        """key, ok, image, text, label of every row, memory-mapped."""
        self._fetch(layout.index_path(number) for number in range(len(self.manifest.shards)))
        parts = []
        for number, shard in enumerate(self.manifest.shards):
            name = layout.index_path(number)
            path = self.file(name, shard.files[name].bytes)
            try:
                parts.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
            except pa.ArrowException as error:
                raise StoreError(f"{path} is damaged; run: distillkit store verify {self.path}") from error
        return pa.concat_tables(parts)

    @cached_property
    def ok(self) -> np.ndarray:
        """Whether each row has features: bool [rows]."""
        return self.index["ok"].to_numpy()

    @cached_property
    def failed(self) -> np.ndarray:
        """The rows without features, found one shard at a time: int64 [n]."""
        found, first = [np.empty(0, np.int64)], 0
        for chunk in self.index["ok"].chunks if self.manifest.skipped else ():
            found.append(first + np.flatnonzero(~chunk.to_numpy(zero_copy_only=False)))
            first += len(chunk)
        return np.concatenate(found)

    def failures(self) -> list[dict[str, str]]:
        """The failure ledger: key, stage and error of every row without features."""
        names = [(layout.failures_path(number), shard) for number, shard in enumerate(self.manifest.shards)]
        self._fetch(name for name, shard in names if name in shard.files)
        ledger = [self.file(name, shard.files[name].bytes) for name, shard in names if name in shard.files]
        return [json.loads(line) for path in ledger for line in path.read_bytes().splitlines()]

    def _fetch(self, names: Iterable[str]) -> None:
        """Of a store behind a URL, bring these files here, several at once."""
        if self._origin is not None:
            recorded = {name: file for shard in self.manifest.shards for name, file in shard.files.items()}
            self._origin.fetch({name: recorded[name] for name in names})

    def file(self, name: str, size: int) -> Path:
        """The path of a file that has the size it must have. What is in it, `verify` looks at."""
        path = self.path / name
        have = path.stat().st_size if path.is_file() else -1
        if have != size:
            state = "is missing" if have < 0 else f"has {have} bytes instead of {size}"
            raise StoreError(f"{path} {state}; run: distillkit store verify {self.path}")
        return path
