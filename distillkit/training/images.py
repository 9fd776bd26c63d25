"""The images of one store in training: whose turn it is, and what was said of them."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64

from distillkit.errors import RecipeError
from distillkit.evals._labels import labels_of
from distillkit.originals import Originals
from distillkit.pixels.augment import mark_of
from distillkit.pixels.looks import Look, look_of
from distillkit.recipe import Data
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.reader import FeatureStore
from distillkit.training.ask import Ask, stored
from distillkit.training.clean_view import first_drawn, same_views, whose_patches
from distillkit.training.join import join
from distillkit.training.order import IMAGES, order_of
from distillkit.types import Features, View

# Teacher features that lie in rows of an image store, as fields of `Features`.
FIELDS = ("image", "cls", "patches", "logits", "classes")


class Shown(NamedTuple):
    """Rows of a store that a batch shows in a pass; of each its key, and which of its stored views."""

    epoch: int
    rows: Int64[np.ndarray, "n"]
    keys: tuple[str, ...]
    views: Int64[np.ndarray, "n"]


class Images:
    """One store, of which every batch takes `share` images. `others`: what more teachers said, joined by key.

    `among`: the only rows that are used.
    """

    def __init__(
        self,
        store: FeatureStore,
        data: Data,
        *,
        seed: int,
        share: int,
        others: dict[str, FeatureStore],
        root: str | None,
        number: int = 0,
        ask: Ask = stored,
        among: Int64[np.ndarray, "n"] | None = None,
    ):
        self.store, self.data, self.seed, self.share, self.others = store, data, seed, share, others
        self.root, self.ask = root, ask
        if data.views == "stored":
            _refuse_without_views(store)
        joined = {name: join(store, other, f"data.also.{name}") for name, other in others.items()}
        self.places = {name: place for name, (place, _) in joined.items()}
        self.notes = [note for _, note in joined.values() if note]
        # A further teacher looked at the views that are shown, or at none but its first.
        self.follow = {name for name, other in others.items() if same_views(store, other)}
        if self.places:
            joined_rows = np.flatnonzero(np.all([place >= 0 for place in self.places.values()], axis=0))
            among = joined_rows if among is None else np.intersect1d(among, joined_rows)
        self.among = among
        # The first store's order has the name it always had; each further one has its own.
        stream = (IMAGES, *([number] if number else []))
        self.order = order_of(data.order, store, seed, stream, among, reads=self.reads)
        self.needs: set[str] = set()

    @property
    def passes(self) -> int:
        """How many batches a pass gives; rows that fill no whole share wait for the next."""
        return len(self.order) // self.share

    def reads(self) -> list[str]:
        """The fields of its store that batches read."""
        if self.ask is not stored:
            return []
        said = {need.removeprefix("teacher.") for need in self.needs}
        captions = {"text"} if self.data.captions != "none" and said & {"text", "caption"} else set()
        return [name for name in self.store.own_fields if name in said.intersection(FIELDS) | captions]

    def turn(self, step: int) -> tuple[int, Int64[np.ndarray, "n"]]:
        """The pass that a step belongs to, and its rows in that pass."""
        epoch, place = divmod(step, self.passes)
        return epoch, self.order.rows(epoch, place * self.share, (place + 1) * self.share)

    def widths(self, name: str | None = None) -> dict[str, int]:
        """Width of each feature of the main teacher, or of one of the others."""
        store = self.others[name] if name else self.store
        said = store.own_fields
        widths = {name: said[name].shape[-1] for name in FIELDS if name in said}
        if "classes" in said:  # only the best are kept of each row; how many there are, the teacher told
            widths["logits"] = store.teacher("classes")["classes"]
        return widths | ({"label": self.labels[1]} if self.data.labels and not name else {})

    @cached_property
    def labels(self) -> tuple[Int64[np.ndarray, "n"], int]:
        """The class of every row, counted from 0 over those that exist, -1 for none; and how many there are."""
        found = labels_of(self.store, self.data.class_names)
        ids, numbers = np.unique(found.ids, return_inverse=True)
        of_row = np.full(len(self.store), -1, np.int64)
        of_row[self.store.ok_rows[found.places]] = numbers
        return of_row, len(ids)

    def shown(self, epoch: int, rows: Int64[np.ndarray, "n"]) -> Shown:
        """What a pass shows of these rows: another stored view each time, until all were seen."""
        keys = tuple(self.store.values("key", rows))
        views = np.array([(epoch + mark_of(key)) % self.store.views.count for key in keys], np.int64)
        return Shown(epoch, rows, keys, views)

    def said(self, shown: Shown, name: str | None = None) -> Features:
        """What the main teacher, or one of the others, said of these rows: what is in `needs`, as "teacher.image".

        Beside the best logits stand the classes they belong to.
        """
        store, rows = self._of(name, shown.rows)
        follows = self.data.views == "stored" and (not name or name in self.follow)
        views = shown.views if follows else np.zeros(len(rows), np.int64)
        wanted = {need.removeprefix(f"{name or 'teacher'}.") for need in self.needs}
        wanted |= {"classes"} if "logits" in wanted else set()
        fields = [field for field in self.widths(name) if field in wanted and field != "label"]
        label = torch.from_numpy(self.labels[0][rows]) if "label" in wanted and not name else None
        return Features(**{field: self.ask(store, field, rows, views) for field in fields}, label=label)

    def _of(self, name: str | None, rows: Int64[np.ndarray, "n"]) -> tuple[FeatureStore, Int64[np.ndarray, "n"]]:
        """The store of the main teacher, or of one of the others, and these rows there."""
        return (self.others[name], self.places[name][rows]) if name else (self.store, rows)

    @property
    def look(self) -> Look | None:
        """What the teacher shows itself of an image, where a student of its patches is to see that."""
        return look_of(self._patched[0].teacher("patches")) if self._patched else None

    def first_drawn(self, rows: Int64[np.ndarray, "n"]) -> list[View]:
        """The same, where it is a view that was drawn; else nothing."""
        return first_drawn(*self._of(self._patched[1], rows)) if self._patched else []

    @property
    def _patched(self) -> tuple[FeatureStore, str | None] | None:
        """Whose patches are learned from the student's own views: the store, and the teacher's name if not the main."""
        names = whose_patches(self.needs) if self.data.views == "own" and self.data.augment.still else []
        if not names:
            return None
        name = None if "teacher" in names else names[0]
        store = self.others[name] if name else self.store
        return (store, name) if "patches" in store.own_fields else None

    @cached_property
    def files(self) -> Originals:
        """Where its images come from at first."""
        return Originals(self.store, self.root, self.data.augment.resample)


def _refuse_without_views(store: FeatureStore) -> None:
    if PARAMETERS not in store.fields:
        raise RecipeError(
            f"data.views: {store.path} keeps no views; extract it with [corpora.views], or set data.views to own"
        )
