"""Stores of several corpora, or views, made by one teacher, as one store. Rows are copied, nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from distillkit.callable import Say
from distillkit.store.format.encode import encode, stored
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.plan import kept, make_plan
from distillkit.store.format.sameness import as_spelled
from distillkit.store.format.steps import Steps
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.ancestry import lines_of_stores
from distillkit.store.upkeep.in_common import in_common, teachers_of
from distillkit.store.upkeep.merged import added, repeated
from distillkit.store.upkeep.sound import refuse_damage, touched
from distillkit.store.writing.fill import fill
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import make_folder
from distillkit.system.progress import Counted
from distillkit.types import Sample

_BLOCK = 65_536


def concatenate(
    out: Path,
    paths: list[Path],
    say: Say,
    made_with: Mapping[str, str],
    command: str | None = None,
    fields: Sequence[str] | None = None,
) -> Manifest:
    """The rows of all stores, one store behind the other; of rows with one key the first stays. Classes that have names
    keep the numbers of the first store that has some; new ones come behind. Its log tells
    the `command`, and what theirs told. `fields`: these alone, where stores have others beside them.

    StoreError unless teachers, fields and views are the same everywhere.
    """
    stores = [FeatureStore(path) for path in paths]
    common = in_common(stores, fields)
    source = _source(stores)
    for store in stores:
        if store.added:
            say(added(store, out, source["kind"] == "merged"))
    for store in stores:
        refuse_damage(store.base.path, store.manifest, touched(_meant(store), store.manifest), common, say=say)
    make_folder(out.parent)
    classes = _classes(stores, say)
    samples = _samples(stores, classes, prefixed="parts" in source["knobs"])
    plan, duplicates = make_plan(Counted(samples, f"{out}: planning, rows", say), None, out.parent)
    rows = _Rows(stores, plan, duplicates, common)
    if rows.places is not None:
        say(repeated(stores, rows.chosen, rows.places, common))
    first = stores[0].manifest
    facts = {
        "source": source | {"duplicates": duplicates},
        "teachers": teachers_of(stores[0], common),
        "views": first.views,
        "merged": [store.manifest.digest for store in stores],
    }
    writer = StoreWriter(out, plan, common, first.rows_per_shard, facts)
    writer.steps = rows.steps
    return fill(writer, rows.read, made_with, say, classes, lines_of_stores(out, stores, command))


def _source(stores: list[FeatureStore]) -> dict[str, Any]:
    """Where the images of the merged store are: the one source of all, or each store's own."""
    kept = [{key: store.manifest.source[key] for key in ("kind", "knobs", "root")} for store in stores]
    if all(as_spelled(kept[0], source) == kept[0] for source in kept):
        return kept[0]
    return {"kind": "merged", "knobs": {"parts": [_component(source) for source in kept]}, "root": None}


def _component(source: dict[str, Any]) -> dict[str, Any]:
    root = {} if source["root"] is None else {"root": source["root"]}
    return {"kind": source["kind"]} | source["knobs"] | root


def _classes(stores: list[FeatureStore], say: Say) -> dict[str, int]:
    """One number for each class of all stores, by its name."""
    table = dict(next((store.class_numbers for store in stores if store.class_numbers), {}))
    for store in stores if table else ():
        own = store.class_numbers
        if not own and pc.any(pc.is_valid(_shown(store)["label"])).as_py():
            say(f"{store.path}: its labels have no names, so they stay the numbers that they are, whatever those mean")
        for name in sorted(own, key=own.__getitem__):
            table.setdefault(name, max(table.values()) + 1)
    return table


def _samples(stores: list[FeatureStore], classes: Mapping[str, int], prefixed: bool) -> Iterator[Sample]:
    for number, store in enumerate(stores):
        now = {was: classes[name] for name, was in store.class_numbers.items()}
        for batch in _shown(store).to_batches(max_chunksize=_BLOCK):
            for key, image, text, label in zip(
                *(batch[name].to_pylist() for name in ("key", "image", "text", "label")), strict=True
            ):
                place = f"{number}:{image}" if prefixed and image is not None else image
                yield Sample(key, place, text, now.get(label, label))


def _meant(store: FeatureStore) -> np.ndarray:
    return np.arange(len(store)) if store.selection is None else store.selection.rows


def _shown(store: FeatureStore) -> pa.Table:
    """The index of a store's rows; of a view, of those that it means."""
    return store.index.take(pa.array(store.selection.rows)) if store.selection else store.index


class _Rows:
    """Planned rows as they lie in the stores that they come from."""

    def __init__(self, stores: list[FeatureStore], plan: pa.Table, duplicates: int, fields: Mapping[str, Field]):
        self.stores, self.fields = stores, fields
        self.chosen = [store.selection.rows if store.selection else None for store in stores]
        counts = [len(store) if rows is None else len(rows) for store, rows in zip(stores, self.chosen, strict=True)]
        self.starts = np.cumsum([0, *counts])
        keys = pa.chunked_array([chunk for store in stores for chunk in _shown(store)["key"].chunks])
        self.places = kept(plan, (key.as_py() for key in keys)) if duplicates else None
        every = [store.base.steps for store in stores]
        self.steps = {name: Steps.covering(steps[name] for steps in every) for name in every[0] if name in fields}
        # Of a key that several have, the first store's row stays, and with it what is said of it.
        self.errors = {line["key"]: line for store in reversed(stores) for line in store.failures()}

    def _kept(self, rows: Tensor, name: str) -> np.ndarray:
        """Numbers of an int8 field may mean something else in each store."""
        field = self.fields[name]
        return encode(rows, field, self.steps[name]).rows if name in self.steps else stored(rows, field)

    def _rows(self, number: int, places: np.ndarray) -> np.ndarray:
        """Row numbers in one store, of places counted through all."""
        local, chosen = places - self.starts[number], self.chosen[number]
        return local if chosen is None else chosen[local]

    def read(self, first: int, stop: int) -> tuple[dict[str, np.ndarray], list[Failure]]:
        places = np.arange(first, stop) if self.places is None else self.places[first:stop]
        whose = np.searchsorted(self.starts, places, side="right") - 1
        pieces = [(number, self._rows(number, places[whose == number])) for number in np.unique(whose).tolist()]
        arrays = {
            name: np.concatenate([self._kept(self.stores[number].read(name, rows), name) for number, rows in pieces])
            for name in self.fields
        }
        keys = np.concatenate([_column(self.stores[number], "key", rows) for number, rows in pieces])
        ok = np.concatenate([_column(self.stores[number], "ok", rows) for number, rows in pieces])
        failures = [
            (int(row), self.errors[keys[row]]["stage"], self.errors[keys[row]]["error"]) for row in np.flatnonzero(~ok)
        ]
        return arrays, failures


def _column(store: FeatureStore, name: str, rows: np.ndarray) -> np.ndarray:
    return store.index[name].take(pa.array(rows)).to_numpy(zero_copy_only=False)
