"""What the batches of a recipe are made of: its stores, opened, and all that is refused before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from distillkit.errors import RecipeError, TrainError
from distillkit.recipe import Data
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count
from distillkit.training.ask import Ask
from distillkit.training.clean_view import other_looks, whose_patches
from distillkit.training.near import near_of
from distillkit.training.order import TEXTS, order_of
from distillkit.training.ranks import Ranks
from distillkit.training.stores import image_stores, texts_store
from distillkit.training.texts import ClassTexts, NearTexts, OwnCaptions, Unpaired
from distillkit.types import Widths


class Ingredients:
    """Images, texts and teachers that a recipe names, for one student, or several that see the same pixels.

    `needs`, such as {"teacher.image"}, is what is read of the stores: at first all that a loss could ask for.
    """

    def __init__(self, data: Data, seed: int, student: Any, ranks: Ranks, ask: Ask):
        _refuse_uneven_shares(data, ranks)
        self.data, self.seed, self.ranks = data, seed, ranks
        self.image_size: int | None = student.image_size
        self.tokenize = getattr(student, "tokenize", None)
        self.patches = int(getattr(student, "patches", 0) or 0)
        self.images = image_stores(data, seed, ask)
        self.texts = texts_store(data.texts, data.teacher, "data.texts") if data.texts else None
        self.classes = texts_store(data.classes, data.teacher, "data.classes") if data.classes else None
        for other in (self.texts, self.classes):
            if self.images and other:
                refuse_other_teacher(self.images[0].store, "image", other, "text")
        self.text_batch_size = data.text_batch_size or data.batch_size
        self.text_order = (
            order_of(data.order, self.texts, seed, (TEXTS,), _with_a_text(self.texts), reads=self.text_fields)
            if self.texts
            else None
        )
        self.near: Neighbours | None = None
        if self.texts and data.sampling != "uniform":
            self.near = Neighbours(self.images[0].store, data.neighbours, self.texts, data.neighbours_k)
            self.images[0].notes += near_of(data, self.images[0], self.near)
        self.text_sources = self._text_sources(ask)
        self.steps_per_epoch = data.repeats * self._whole_batches()
        self._read({f"teacher.{name}" for name in self.teacher_widths})
        self.notes = [note for images in self.images for note in images.notes]
        self.notes += [texts.note for texts in self.text_sources[:1] if isinstance(texts, ClassTexts) and texts.note]
        self._refuse_what_the_student_lacks()

    @property
    def stores(self) -> dict[str, FeatureStore]:
        """The stores that are read, by the recipe's name for them."""
        images = {f"images.{number}" if number else "images": one.store for number, one in enumerate(self.images)}
        also = {f"also.{name}": store for one in self.images for name, store in one.others.items()}
        near = self.near.store if self.near else None
        named = images | also | {"texts": self.texts, "classes": self.classes, "neighbours": near}
        return {name: store for name, store in named.items() if store}

    @property
    def texts_shared(self) -> bool:
        """Whether every process has all texts of a batch, of which one may describe several images."""
        return any(source.shared for source in self.text_sources)

    @cached_property
    def first(self) -> FeatureStore:
        """The store whose rows make an epoch."""
        return next(iter(self.stores.values()))

    @cached_property
    def teacher(self) -> dict[str, Any]:
        """The fingerprint of the teacher that is learned from."""
        teachers = self.first.said_by
        alias = self.data.teacher or next(iter(teachers))
        if alias not in teachers:
            raise RecipeError(f"data.teacher: {self.first.path} knows no {alias!r}; it has: {', '.join(teachers)}")
        return self.first.teachers[alias]

    @property
    def further_teachers(self) -> dict[str, dict[str, Any]]:
        """The same of each of `data.also`, by its name there; empty of one that its store does not know."""
        others = {name: store for images in self.images for name, store in images.others.items()}
        return {
            name: store.teachers.get(store.alias or next(iter(store.said_by)), {}) for name, store in others.items()
        }

    @cached_property
    def scale(self) -> Tensor | None:
        """The teacher's logit multiplier, if it has one."""
        scale = self.teacher.get("logit_scale")
        return None if scale is None else torch.tensor(scale)

    def widths(self, student: Any = None) -> Widths:
        """What losses may ask for: the features of the student, of the main teacher and of each further one."""
        return Widths({} if student is None else student.widths, self.teacher_widths, self.other_widths)

    @cached_property
    def teacher_widths(self) -> dict[str, int]:
        """Width of each feature of the main teacher that batches can carry."""
        of_images = [images.widths() for images in self.images]
        widths = dict(set(of_images[0].items()).intersection(*(one.items() for one in of_images))) if of_images else {}
        if self.text_sources:
            widths["text"] = self.text_sources[0].width
        if self.classes and self.data.captions != "none" and self.images:
            widths["caption"] = self.images[0].store.field("text").shape[-1]
        return widths | ({"scale": 1} if self.scale is not None else {})

    @cached_property
    def other_widths(self) -> dict[str, dict[str, int]]:
        """The same of each further teacher."""
        return {name: self.images[0].widths(name) for name in self.data.also}

    def narrow(self, needs: Iterable[str]) -> None:
        """Read only what some loss needs: patch tokens are half a megabyte an image."""
        needs = set(needs)
        _refuse_other_patches(self.data, needs)
        self._read(needs)
        told = [note for images in self.images for note in other_looks(images.store, images.others, self.data, needs)]
        self.notes += [note for note in told if note not in self.notes]

    def _read(self, needs: set[str]) -> None:
        self.needs = needs
        for images in self.images:
            images.needs = needs

    def text_fields(self) -> list[str]:
        """The fields of a corpus of texts that batches read."""
        return ["text"] if "teacher.text" in self.needs else []

    def try_out(self) -> None:
        """SourceError for images that are not there, where no pixel cache could do without them."""
        for images in self.images if self.image_size and self.data.pixel_cache is None else ():
            _ = images.files.source

    def page_in(self) -> None:
        """Where rows come in any order, bring the features that batches read into the page cache."""
        if self.data.order != "random":
            return
        for images in self.images:
            images.store.populate(images.reads())
        if self.texts:
            self.texts.populate(self.text_fields())

    def _text_sources(self, ask: Ask) -> Sequence[Unpaired | ClassTexts]:
        """Where texts come from; own captions of several image stores from each."""
        if self.texts and self.near and self.data.sampling == "neighbours":
            return [NearTexts(self.texts, self.near, ask)]
        if self.texts:
            return [Unpaired(self.texts, ask)]
        if self.classes and self.images:
            firsts = [mixed.first_class for mixed in self.data.mix] or [self.data.first_class]
            return [
                ClassTexts(images.store, self.classes, self.data.class_names, first)
                for images, first in zip(self.images, firsts, strict=True)
            ]
        if self.images and self.data.captions != "none":
            return [OwnCaptions(images.store, ask, merged=self.data.captions == "unique") for images in self.images]
        return []

    def _whole_batches(self) -> int:
        """Batches in a pass over the first store."""
        if self.texts and self.text_order is not None and self.data.sampling != "neighbours":
            rows, size = len(self.text_order), self.text_batch_size
            if rows < size:
                raise TrainError(
                    f"{self.texts.path}: no batch of {size} from {count(rows, 'row')}; lower data.text_batch_size"
                )
        if self.images:
            return self.images[0].passes
        assert self.text_order is not None
        return len(self.text_order) // self.text_batch_size

    def _refuse_what_the_student_lacks(self) -> None:
        """RecipeError for masks of a student without patches, and for prompts that are more than a student can read."""
        if self.images and self.data.mask is not None and not self.patches:
            raise RecipeError(
                "data.mask: this student has no patches to mask; take a vision transformer with tokens = true"
            )
        for source in self.text_sources[:1]:
            if self.tokenize and isinstance(source, ClassTexts):
                _ = source.words


def _refuse_uneven_shares(data: Data, ranks: Ranks) -> None:
    if data.batch_size % ranks.world:
        raise TrainError(
            f"{count(ranks.world, 'process', 'processes')} cannot share data.batch_size = "
            f"{data.batch_size}; make it a multiple"
        )
    if data.augment.mixes and data.batch_size // ranks.world % 2:
        raise TrainError(
            f"data.augment: mixup and CutMix mix images in pairs, each of "
            f"{count(ranks.world, 'process', 'processes')} has "
            f"{data.batch_size // ranks.world} of data.batch_size = {data.batch_size}; make that even"
        )


def _refuse_other_patches(data: Data, needs: set[str]) -> None:
    """Every cached patch token has seen the view it was computed from: it cannot be mirrored or cropped afterwards."""
    if data.views == "own" and not data.augment.still and whose_patches(needs):
        raise RecipeError(
            "data.augment: a loss pairs patches with the teacher's, which saw the clean view; show the student that: "
            'scale = [1.0, 1.0], ratio = [1.0, 1.0], flip = 0.0; or store views and set data.views = "stored"'
        )


def _with_a_text(store: FeatureStore) -> Int64[np.ndarray, "n"] | None:
    """The only rows that are used, of a store whose images do not all have captions; None where all are."""
    rows = store.rows_with("text")
    return rows if len(rows) < len(store.ok_rows) else None
