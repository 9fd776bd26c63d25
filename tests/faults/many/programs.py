"""What the processes do: extract with a teacher that says what the ledger knows, and read a store as it comes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from distillkit.engine import corpus as stage
from distillkit.engine import local as engine
from distillkit.engine.cost import Cost
from distillkit.engine.places import refuse_to_redo
from distillkit.engine.planning import Planned
from distillkit.errors import StoreError
from distillkit.store.bucket.remote import workplace
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.claims import Part
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import make_folder
from tests.faults.many.ledger import FIELDS, SHARD, Ledger, failed, identity, plan, said
from tests.faults.many.turns import Turns

_STORE = "store"


@dataclass(frozen=True)
class _Job:
    """What an extraction asks of a job whose teacher is a formula, and whose images are no files."""

    path: Path
    which: int
    fields: Mapping[str, Any] = field(default_factory=lambda: FIELDS)
    rows_per_shard: int = SHARD
    steps: Mapping[str, Any] = field(default_factory=dict)
    passes: Mapping[str, Any] = field(default_factory=dict)
    source: None = None
    adds: bool = False


class _Reporting(StoreWriter):
    """A writer whose commits the ledger hears of."""

    ledger: Ledger
    which: int

    def commit(self, shard: int, *arguments: Any) -> None:
        super().commit(shard, *arguments)
        self.ledger.reported(self.which, shard)


@dataclass
class Programs:
    """`place`: the folder or URL of all stores."""

    turns: Turns
    ledger: Ledger
    place: str

    def extract(self, which: int, part: Part, overwrite: bool = False) -> None:
        """As `distillkit extract-teacher` does once its teacher is loaded."""
        rows = plan(self.ledger.rows(which))
        path = workplace(self.place) / _STORE
        make_folder(path.parent)
        writer = _Reporting(path, rows, FIELDS, SHARD, identity(which))
        writer.ledger, writer.which = self.ledger, which
        job: Any = _Job(path, which)
        if not overwrite:
            refuse_to_redo(job, writer, False)
        stage.fill(engine.LocalEngine(), job, writer, part, Planned(rows, 0, 0, None, []), lambda line: None, {})

    def computed(self, job: Any, plans: Any, *_: Any) -> Generator[Any]:
        """In place of what asks a network, image by image."""
        for shard, rows in plans.items():
            self.turns.wait(self.turns.chance.uniform(1, 300))
            self.ledger.computed.append((job.which, shard))
            first = shard * SHARD
            stop = first + rows.num_rows
            arrays = {"toy/image": said(job.which, first, stop)}
            yield SimpleNamespace(
                number=shard,
                plan=rows,
                arrays=arrays,
                failures=failed(first, stop),
                clipped={},
                cost=Cost(),
                stamps=None,
            )

    def read(self) -> None:
        """A reader sees a complete store or none, and no row that nobody said."""
        try:
            store = FeatureStore(f"{self.place}/{_STORE}")
        except StoreError:
            return
        for _ in range(3):
            self.turns.wait(self.turns.chance.uniform(0, 60))
            rows = np.sort(self.turns.chance.sample(range(self.ledger.least), 5))
            found = store.read("image", rows).numpy()
            of = int(store.manifest.teachers["toy"]["weights_sha256"])
            want = np.concatenate([said(of, row, row + 1) for row in rows.tolist()])
            want[~np.isin(rows, store.ok_rows)] = np.nan
            np.testing.assert_array_equal(found, want)

    @contextmanager
    def instead_of_networks(self) -> Iterator[None]:
        """While this lasts, rows are what the ledger says; and nobody asks what is installed."""
        with patch.object(engine, "computed", self.computed), patch.object(stage, "versions", dict):
            yield
