"""The files of one shard, below any folder: they become a shard of a store when `writer` commits them.

<teacher>/<field>/c/...  the shard's rows, one file per field (zarr v3)
index/<shard>.arrow      key, ok, image, text, label of its rows
failures/<shard>.jsonl   key, stage and error of each row that has no features
stamps/<shard>.npy       what the files of its images were, see `stamps`: beside the shard, and no part of it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from distillkit.errors import StoreError
from distillkit.store.format import layout
from distillkit.store.format.field import ABSENT, DTYPES, Field
from distillkit.store.format.manifest import File, Shard, file_digest
from distillkit.store.writing import stamps as stamps_of
from distillkit.store.writing.rows import write_rows
from distillkit.system.atomic import atomic_file

Failure = tuple[int, str, str]  # row within the shard, stage, error


class ShardWriter:
    """Cuts a plan into shards of `rows_per_shard` rows, and writes the files of any one of them."""

    def __init__(self, plan: pa.Table, fields: Mapping[str, Field], rows_per_shard: int):
        self.plan, self.fields, self.rows_per_shard = plan, dict(fields), rows_per_shard

    @property
    def shards(self) -> int:
        """How many shards the plan makes."""
        return -(-self.plan.num_rows // self.rows_per_shard)

    @property
    def shard_bytes(self) -> int:
        """The rows of a full shard in memory, of all fields."""
        return self.rows_per_shard * sum(field.row_bytes for field in self.fields.values())

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last."""
        first = shard * self.rows_per_shard
        return first, min(first + self.rows_per_shard, self.plan.num_rows)

    def refuse_another_store(self) -> None:
        """Asked when a file is written and has not its name yet: whether it belongs to what lies there by now."""

    def write(
        self,
        shard: int,
        arrays: Mapping[str, np.ndarray],
        failures: list[Failure],
        folder: Path,
        clipped: Mapping[str, int] = MappingProxyType({}),
        stamps: np.ndarray | None = None,
    ) -> Shard:
        """`arrays[field]` has a row for every planned row, as it lies on disk (see `encode`).

        What is in the rows named in `failures` is replaced by what says "absent". `clipped`: how many values of an
        int8 field were beyond its steps. `stamps`: what the files of its images were; of failed rows nobody asks.
        """
        first, stop = self.span(shard)
        ok = np.ones(stop - first, dtype=bool)
        ok[[row for row, _, _ in failures]] = False
        files = {
            layout.shard_path(name, shard, field): self._write_field(name, shard, arrays[name], ok, folder)
            for name, field in self.fields.items()
        }
        tables = [self._write_index(shard, ok, folder)]
        if failures:
            tables.append(self._write_failures(shard, failures, folder))
        if stamps is not None:
            stamps = np.where(ok, stamps, stamps_of.blank(1))
        stamps_of.keep(folder, shard, stamps, self.refuse_another_store)
        files |= {path.relative_to(folder).as_posix(): file_digest(path) for path in tables}
        told = {name: count for name, count in clipped.items() if count}
        return Shard(rows=stop - first, ok=int(ok.sum()), files=files, clipped=told)

    def _write_field(self, name: str, shard: int, values: np.ndarray, ok: np.ndarray, folder: Path) -> File:
        field = self.fields[name]
        if values.shape != (len(ok), *field.shape) or values.dtype != DTYPES[field.dtype]:
            raise StoreError(f"{name}: got {values.dtype} {values.shape}, want {field.dtype} {(len(ok), *field.shape)}")
        values[~ok] = ABSENT[field.dtype]
        path = folder / layout.shard_path(name, shard, field)
        return write_rows(path, values, field, self.rows_per_shard, folder, self.refuse_another_store)

    def _write_index(self, shard: int, ok: np.ndarray, folder: Path) -> Path:
        first, stop = self.span(shard)
        index = self.plan.slice(first, stop - first).add_column(1, "ok", pa.array(ok))
        path = folder / layout.index_path(shard)
        with atomic_file(path, within=folder) as file, pa.ipc.new_file(file, index.schema) as arrow:
            arrow.write_table(index.combine_chunks())
            self.refuse_another_store()
        return path

    def _write_failures(self, shard: int, failures: list[Failure], folder: Path) -> Path:
        first, _ = self.span(shard)
        path = folder / layout.failures_path(shard)
        with atomic_file(path, within=folder) as file:
            for row, stage, error in sorted(failures):
                key = self.plan["key"][first + row].as_py()
                file.write(
                    (json.dumps({"key": key, "stage": stage, "error": error}, ensure_ascii=False) + "\n").encode()
                )
            self.refuse_another_store()
        return path
