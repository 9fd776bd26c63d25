"""Writing a store: shards are committed one by one, each complete or not there, and the manifest comes last.

plan.json + plan.arrow   what will be extracted, and under which fingerprint
<teacher>/<field>.steps  of an int8 field: what its numbers mean; steps.json tells what these files are, to the byte
...                      the files of each shard, see `shards`
commits/<shard>.json     their sizes and checksums: the shard exists when this does
manifest.json            the store exists when this does
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.errors import StoreError, in_the_end
from distillkit.store.bucket.beginning import ANOTHER
from distillkit.store.format import layout
from distillkit.store.format.checksums import FILE_NAME as CHECKSUMS
from distillkit.store.format.checksums import beside, checksums
from distillkit.store.format.field import Field
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.log import logged
from distillkit.store.format.manifest import FILE_NAME, VERSION, Manifest, Shard, file_digest, readable
from distillkit.store.format.plan import plan_digest
from distillkit.store.format.sameness import begun_with, recognised
from distillkit.store.format.steps import Steps
from distillkit.store.reading.additions import FOLDER
from distillkit.store.writing import begun, stamps
from distillkit.store.writing import steps as steps_of
from distillkit.store.writing.base import kept_as_it_is
from distillkit.store.writing.commits import commit_of, commit_path, committed, read_commit
from distillkit.store.writing.home import Disk, home_of
from distillkit.store.writing.shards import Failure, ShardWriter
from distillkit.store.writing.skeleton import Skeleton
from distillkit.system.atomic import SET_ASIDE, make_folder, or_undone, sync
from distillkit.system.record import digest
from distillkit.system.temporary import TEMPORARY, temporary, tidy


class StoreWriter(ShardWriter):
    """Begins or continues the store at `path`. `identity` is everything the rows depend on; it must not change, but
    for what its teachers are called: then the store keeps the names that it was begun with.

    `steps` says what the numbers of its int8 fields mean. Of a store that is not begun, fill it in before `begin`, and
    of one that has lost some: where these are the ones that it was begun with, they are written again.
    """

    def __init__(
        self, path: Path, plan: pa.Table, fields: Mapping[str, Field], rows_per_shard: int, identity: Mapping[str, Any]
    ):
        super().__init__(plan, fields, rows_per_shard)
        self.path, self.home = path, home_of(path)
        layout.check_rows_per_shard(rows_per_shard, *self.fields.values())
        self._asked, self._given = self._identity(identity, VERSION), identity
        self.refresh()
        self.steps: dict[str, Steps] = {}

    @property
    def skeleton(self) -> Skeleton:
        """What lies beside the shards; made when it is asked for, as a writer travels without its plan."""
        return Skeleton(self.plan, self.fields, self.rows_per_shard)

    def refresh(self) -> None:
        """See what others have done meanwhile: on this machine, or where several write one store behind a URL."""
        self.home.refresh()
        before = self.previous_identity()
        self.version, self.identity = VERSION, recognised(before, self._asked)
        if before is not None and "version" not in before:
            first = recognised(before, self._identity(self._given, 1))
            if first == before:
                self.version, self.identity = 1, first  # what version 1 began, it ends

    def _identity(self, identity: Mapping[str, Any], version: int) -> dict[str, Any]:
        return {
            **identity,
            **({"version": version} if version > 1 else {}),
            "rows": self.plan.num_rows,
            "rows_per_shard": self.rows_per_shard,
            "fields": {name: field.model_dump() for name, field in self.fields.items()},
            "plan": plan_digest(self.plan, version),
        }

    def previous_identity(self) -> dict[str, Any] | None:
        """What the store already at this place was begun with; None when there is none."""
        return begun_with(self.path)

    def refuse_another_store(self) -> None:
        """StoreError where another store lies here by now, or none.

        A machine that slept has lost its claims on a file server, and another recipe may have set its store aside. The
        file that is written and has no name yet went with its folder: asked now, and not before, this says enough.
        """
        if self.previous_identity() != self.identity:
            told = f"what this run has committed lies in {self.path.name}{SET_ASIDE}..."
            raise StoreError(f"{in_the_end(self.path)}: {ANOTHER} (was this machine asleep?); {told}")

    def set_aside(self) -> Path:
        """Move the store at this place out of the way, and say where to. Nothing is deleted."""
        aside = self.home.set_aside(digest(self.previous_identity())[:8])
        self.steps, self.version, self.identity = {}, VERSION, self._asked
        return aside

    def begin(self, *, alone: bool = True) -> None:
        """Lay down the plan and the zarr metadata, unless an earlier run of the same identity did.

        `alone`: no other process writes here, so what a killed one had begun to write can go.
        """
        self.home.refuse_other_files()
        if alone:
            self.tidy()
        if self.previous_identity() is not None:
            again = steps_of.restored(self.path, self.fields, self.steps, self.refuse_another_store)
            self.home.bring(again)
            self.steps = steps_of.as_begun(self.path, self.fields)
            return
        self.home.begin(self.identity, lambda place: self.skeleton.lay_down(place, self.steps))
        self.refresh()
        if self.previous_identity() != self.identity:
            raise StoreError(f"{in_the_end(self.path)}: {ANOTHER}")
        self.steps = steps_of.as_begun(self.path, self.fields)

    def tidy(self) -> None:
        """Remove what a killed process had begun to write, where no other process writes here; and the folder of one
        that had begun the store.
        """
        tidy(self.path)
        for half in self.path.rglob(f"*{TEMPORARY}"):
            if half.relative_to(self.path).parts[0] != FOLDER:  # additions have writers of their own
                half.unlink()

    def committed(self, shard: int) -> bool:
        """Whether this shard is done; what is done is never computed again."""
        return (self.path / commit_path(shard)).is_file()

    def told(self, shard: int) -> Shard | None:
        """What the commit of a shard tells; None where it is damaged. FileNotFoundError where there is none."""
        return read_commit(self.path, shard, len(range(*self.span(shard))), self.fields)

    def mend(self) -> list[int]:
        """Take back the commits that are damaged, or whose files are gone or of another size: such shards are to do.

        What lies beside the shards and is gone is written again.
        """
        self.home.settle(self.skeleton.folders)  # before anything that is there is believed
        if self.previous_identity() == self.identity:
            lost = [name for name in self.skeleton.files if not self.home.holds(name)]
            for name in lost:
                self.skeleton.lay_down_one(self.path, name, self.refuse_another_store)
            self.home.bring(lost)
        damaged = self.damaged()
        if damaged or (self.finished() and not readable(self.path)):
            self.home.remove(FILE_NAME, self.refuse_another_store)
        for shard in damaged:
            self.forget(shard)
        return damaged

    def forget(self, shard: int) -> None:
        """Take back the commit of a shard."""
        self.home.remove(commit_path(shard), self.refuse_another_store)

    def damaged(self) -> list[int]:
        """The committed shards whose commit is damaged, or whose files are gone or of another size."""
        return [shard for shard in range(self.shards) if self.committed(shard) and not self._whole(shard)]

    def _whole(self, shard: int) -> bool:
        record = self.told(shard)  # where it is damaged, nothing says any more what the files of this shard must be
        return record is not None and all(self.home.has(name, file.bytes) for name, file in record.files.items())

    def commit(
        self,
        shard: int,
        arrays: Mapping[str, np.ndarray],
        failures: list[Failure],
        clipped: Mapping[str, int] = MappingProxyType({}),
        stamped: np.ndarray | None = None,
    ) -> None:
        """Write one shard, as in `write`, and let it exist. In a bucket, where nothing can be redone, no stamps are."""
        stamped = stamped if isinstance(self.home, Disk) else None
        self.record(shard, self.write(shard, arrays, failures, self.path, clipped, stamped))

    def adopt(self, shard: int, record: Shard, folder: Path) -> None:
        """Commit a shard that was written below `folder`, which lies on the same disk."""
        for name in record.files:
            path = self.path / name
            coming = temporary(path)
            make_folder(path.parent, self.path)
            (folder / name).replace(coming)
            with or_undone(partial(coming.replace, folder / name)):
                self.refuse_another_store()
                coming.replace(path)
            sync(path.parent)
        if isinstance(self.home, Disk):
            stamps.keep(self.path, shard, stamps.kept(folder, shard, record.rows), self.refuse_another_store)
        self.record(shard, record)

    def record(self, shard: int, record: Shard) -> None:
        """From here on the shard exists: its files are in the store."""
        if layout.failures_path(shard) not in record.files:
            # A run that was killed just before its commit may have seen failures that are mended now.
            self.home.remove(layout.failures_path(shard), self.refuse_another_store)
        self.home.bring(record.files)
        self.home.prove(commit_path(shard), commit_of(record), self.refuse_another_store)
        begun.drop(self.path, shard)
        self.home.release(record.files)

    def finish(self, made_with: Mapping[str, str]) -> Manifest:
        """Write the manifest: from here on the store exists."""
        self.home.renew(map(commit_path, range(self.shards)))
        shards = [committed(self.path, shard, self.told, self.refuse_another_store) for shard in range(self.shards)]
        self.refuse_another_store()  # whose commits these would be
        steps = map(layout.steps_path, steps_of.as_begun(self.path, self.fields))
        manifest = Manifest(
            version=self.version,
            name=self.path.name,
            source=self.identity["source"] | {"plan": self.identity["plan"]},
            teachers=self.identity["teachers"],
            fields=self.fields,
            views=self.identity["views"],
            rows=self.plan.num_rows,
            rows_per_shard=self.rows_per_shard,
            skipped=sum(shard.rows - shard.ok for shard in shards),
            shards=shards,
            files={path: file_digest(self.path / path) for path in steps},
            made_with=dict(made_with),
            remarks=self._remarks(),
        )
        begun.end(self.path)
        self.home.bring([*(name for name in (LOG,) if (self.path / name).is_file()), *beside(self.path)])
        with kept_as_it_is(self.path, self.identity["plan"]):
            self.home.prove(CHECKSUMS, checksums(self.path, manifest), self.refuse_another_store)
            self.home.prove(FILE_NAME, manifest.model_dump(), self.refuse_another_store)
        return manifest

    def _remarks(self) -> dict[str, dict[str, int]]:
        """What the log counts and the rows do not tell."""
        cut = sum((Counter(line.get("cut", {})) for line in logged(self.path)), Counter[str]())
        return {"texts cut to what the teacher reads": dict(cut)} if cut else {}

    def finished(self) -> bool:
        return (self.path / FILE_NAME).is_file()
