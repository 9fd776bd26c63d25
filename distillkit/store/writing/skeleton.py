"""What of a store lies beside its shards and follows from rows and fields: the plan, zarr's metadata, the folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from distillkit.store.format import layout
from distillkit.store.format.field import Field
from distillkit.store.format.plan import FILE_NAME as PLAN
from distillkit.store.format.steps import Steps
from distillkit.store.writing.steps import FILE_NAME as STEPS
from distillkit.store.writing.steps import record
from distillkit.system.atomic import as_json, atomic_file, make_folder, write_json


class Skeleton:
    """Of the store of these rows and fields, wherever it lies."""

    def __init__(self, plan: pa.Table, fields: Mapping[str, Field], rows_per_shard: int):
        self._plan, self._fields, self._rows_per_shard = plan, fields, rows_per_shard

    @cached_property
    def files(self) -> dict[str, Any]:
        """By name, what is JSON in it."""
        return {PLAN: None, **layout.metadata_files(self._fields, self._plan.num_rows, self._rows_per_shard)}

    @property
    def folders(self) -> list[str]:
        """The folders that files of several shards share, and those above them."""
        of_fields = [place for name in self._fields for place in (name.split("/")[0], name, f"{name}/c")]
        return [*dict.fromkeys(["", *of_fields, "index", "failures", "commits"])]

    def lay_down(self, place: Path, steps: Mapping[str, Steps]) -> None:
        """All of it, in a folder. `steps`: what the numbers of int8 fields mean."""
        # Before anyone writes a shard: of two who make the same folder, one would not wait until it is durable.
        for folder in self.folders:
            make_folder(place / folder)
        for name, of_field in steps.items():
            with atomic_file(place / layout.steps_path(name)) as file:
                file.write(of_field.tobytes())
        if steps:
            write_json(place / STEPS, record(steps))
        for name in self.files:
            self.lay_down_one(place, name)

    def lay_down_one(self, place: Path, name: str, ours: Callable[[], None] = lambda: None) -> None:
        """One of its files, in a folder that is there. `ours` may refuse before it has its name."""
        with atomic_file(place / name, within=place) as file:
            if name != PLAN:
                file.write(as_json(self.files[name]))
            else:
                with pa.ipc.new_file(file, self._plan.schema) as arrow:
                    arrow.write_table(self._plan)
            ours()
