"""What a mining recipe asks for: whose neighbours, among what, and whether the two can be compared at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.mining.vectors import Vectors
from distillkit.recipe import MineRecipe
from distillkit.store.bucket.remote import origin
from distillkit.store.format.field import Field
from distillkit.store.reading.additions import FOLDER
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.shards import Failure
from distillkit.system.atomic import parsed_json
from distillkit.system.paths import expand

# Why a row has no neighbours, in the ledger.
_SILENT = "the store has no features of this row, or none with a direction"
UNASKED = "not asked: it is outside of the view whose rows were"
_UNIT = 1e-3  # lengths this near to 1 are those of normalised vectors in float16


@dataclass(frozen=True)
class Job:
    """Neighbours for `queries` among `corpus`, written to `path`, an addition to the query store."""

    recipe: MineRecipe
    queries: Vectors
    corpus: Vectors
    path: Path

    @classmethod
    def of(cls, recipe: MineRecipe) -> Job:
        """StoreError where the stores are not there, or were made by different teachers, or in different spaces."""
        queries = Vectors.of(FeatureStore(expand(recipe.queries)), recipe.field)
        if origin(queries.store.base.path):  # before the search, which may take hours
            raise StoreError(
                f"{recipe.queries}: neighbours are kept with the rows that ask, and a store behind a URL is written by "
                "extract-teacher alone; copy it to a disk, and name the copy as `queries`"
            )
        corpus = Vectors.of(FeatureStore(expand(recipe.corpus)), recipe.corpus_field)
        refuse_other_teacher(queries.store, recipe.field, corpus.store, recipe.corpus_field)
        if queries.width != corpus.width:
            raise StoreError(
                f"{recipe.queries}: {recipe.field} is {queries.width} wide, {recipe.corpus}: {recipe.corpus_field} is "
                f"{corpus.width} wide; name two fields of one space"
            )
        return cls(recipe, queries, corpus, queries.store.base.path / FOLDER / recipe.name)

    @cached_property
    def within(self) -> bool:
        """Whether rows look for their like: a row is then no neighbour of itself."""
        same = self.queries.store.base.path.resolve() == self.corpus.store.base.path.resolve()
        return same and self._field(self.queries) == self._field(self.corpus)

    @property
    def fields(self) -> dict[str, Field]:
        """The arrays of the addition."""
        name, k = self.recipe.name, self.recipe.k
        return {
            f"{name}/ids": Field(teacher=name, shape=[k], dtype="int32"),
            f"{name}/scores": Field(teacher=name, shape=[k], dtype="float16"),
        }

    def asked(self) -> dict[str, Any]:
        """What the neighbours depend on. What was chosen and measured for them comes on top."""
        recipe = self.recipe
        return {
            "kind": "mined",
            "field": self._field(self.queries),
            "corpus_field": self._field(self.corpus),
            "texts_digest": self.corpus.store.manifest.digest,  # of the store, also where a view of it is searched
            "corpus_digest": self.corpus.store.digest,
            "rows_digest": self.queries.store.digest,
            "k": recipe.k,
            "index_asked": recipe.index,
            "recall_asked": recipe.recall,
            "equal_texts": recipe.equal_texts,
            "near_duplicates": recipe.near_duplicates,
            "seed": recipe.seed,
        }

    @property
    def made_of(self) -> dict[str, str]:
        """What reports tell of how to mine again: the views and stores as seen from the addition, with their digests of
        now.
        """
        stores = (self.queries.store, self.corpus.store)
        return {
            os.path.relpath(one.path.absolute(), self.path.absolute()): (one.selection or one.manifest).digest
            for one in stores
        }

    def begun_with(self) -> dict[str, Any]:
        """The facts of the addition at `path`, if it was begun with what is asked now; else nothing."""
        path = self.path / "plan.json"
        identity = parsed_json(path.read_bytes()) if path.is_file() else {}
        facts = identity.get("teachers", {}).get(self.recipe.name, {})
        same = all(facts.get(key) == value for key, value in self.asked().items())
        return facts if same and identity.get("rows_per_shard") == self.recipe.rows_per_shard else {}

    def identity(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The identity of the addition; its source is the one of the store that it belongs to."""
        manifest = self.queries.store.manifest
        source = {key: value for key, value in manifest.source.items() if key != "plan"}
        return {"source": source, "teachers": {self.recipe.name: facts}, "views": manifest.views}

    def without(self, rows: np.ndarray, places: np.ndarray) -> list[Failure]:
        """Why those of `rows` of the query store that stand at `places` have no neighbours."""
        view = self.queries.store.selection
        meant = np.isin(rows[places], view.rows) if view else np.ones(len(places), bool)
        why = np.where(meant, _SILENT, UNASKED).tolist()
        return [(place, "read", reason) for place, reason in zip(places.tolist(), why, strict=True)]

    def tell_place(self, say: Say) -> None:
        """Say where the neighbours of a view go: into the store that it is of, as a view holds nothing itself."""
        store = self.queries.store
        if store.path != store.base.path:
            say(
                f"{store.path}: is a view of {store.base.path}, which keeps the neighbours of its rows: {self.path} "
                f"(another view's, mined as {self.recipe.name!r}, would take their place; `name` keeps both)"
            )

    def tell_lengths(self, say: Say) -> None:
        """Say where vectors are not normalised, and that cosines do not mind."""
        for vectors in (self.queries, self.corpus)[: 1 if self.within else 2]:
            low, high = vectors.length_range()
            if max(abs(low - 1), abs(high - 1)) > _UNIT:
                where = f"{vectors.store.path}: {vectors.field}"
                say(f"{where} is not normalised (norms {low:.3g} to {high:.3g}); neighbours are found by cosine")

    @staticmethod
    def _field(vectors: Vectors) -> str:
        return vectors.store.field_name(vectors.field)
