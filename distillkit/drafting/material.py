"""What the stores of a recipe to come hold: as much as decides what can be learned from them, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc

from distillkit.drafting.able import advice
from distillkit.errors import RecipeError
from distillkit.losses._sharpness import cosines, scale_for
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand

_SOME = 256  # rows that a scale is measured on


@dataclass(frozen=True)
class Material:
    """Stores by the names that the recipe will have; `texts` are unpaired, `classes` are class prompts.

    `class_names`: the file behind the prompts, where images have names for labels. `measured`: images to measure on,
    where they are not those to train on. `alias`: which of the stores' teachers is learned from, if not the first;
    `named`: somebody asked for that one. `also`: another one that is learned from as well.
    """

    images: str
    texts: str | None = None
    classes: str | None = None
    class_names: str | None = None
    measured: str | None = None
    alias: str | None = None
    named: bool = False
    also: str | None = None

    @cached_property
    def store(self) -> FeatureStore:
        return self._open(self.images)

    def _open(self, store: str) -> FeatureStore:
        return FeatureStore(expand(store), self.alias)

    def of_who_said(self, field: str) -> Material:
        """The same, learned from a teacher that was added later if that is the only one that gave such a field, and
        from the first that gave it where several were there from the beginning.
        """
        said, base = self._who_said(field), self.store.manifest
        by_default = field in self.store.own_fields and len(base.teachers) == 1
        if self.named or by_default or not said or (len(said) > 1 and said[0] not in base.teachers):
            return self
        return replace(self, alias=said[0])

    def _who_said(self, field: str) -> list[str]:
        """The store's teachers that gave such a field, first those that were there first."""
        said = (one.teacher for name, one in self.store.fields.items() if name.split("/")[1] == field)
        return list(dict.fromkeys(said))

    def others_of(self, field: str) -> list[str]:
        """Who else gave such a field, where nobody was named."""
        said = [] if self.named else self._who_said(field)
        return [one for one in said if one != (self.alias or said[0])]

    @cached_property
    def rows(self) -> int:
        """Images that are learned from: those of which everybody said something."""
        rows = self.store.ok_rows
        return len(rows if self.further is None else np.intersect1d(rows, self.further.store.ok_rows))

    @cached_property
    def further(self) -> Material | None:
        """The same stores, learned from the other teacher alone."""
        return None if self.also is None else replace(self, alias=self.also, also=None)

    @property
    def said_by(self) -> str:
        """What the store calls the teacher that is learned from."""
        return next(iter(self.store.own_fields.values())).teacher

    @cached_property
    def text_rows(self) -> int:
        """Unpaired texts; 0 without any."""
        return len(FeatureStore(expand(self.texts)).ok_rows) if self.texts else 0

    def width(self, field: str) -> int:
        """How wide the teacher's field is; RecipeError, with what there is, where the store lacks it."""
        fields = self.store.own_fields
        if field not in fields:
            raise RecipeError(
                f"{self.images}: holds no {field!r}, only {', '.join(fields)}; {advice(self.teacher, field)}"
            )
        return int(fields[field].view_shape[-1])

    @property
    def patches(self) -> int:
        """Patch tokens of an image; 0 where none are stored."""
        field = self.store.own_fields.get("patches")
        return int(field.view_shape[0]) if field else 0

    @property
    def captioned(self) -> bool:
        """Whether images to train on have captions, and the teacher was asked about them."""
        return self.captions_of(self.images)

    def captions_of(self, store: str) -> bool:
        """The same of any store; RecipeError as of `fields_of`."""
        return "text" in self.fields_of(store) and len(self._open(store).rows_with("text")) > 1

    def refuse_unread(self, texts: str) -> None:
        """RecipeError where the teacher that is learned from was not asked about these texts, or reads none."""
        asked = self.alias in (None, *FeatureStore(expand(texts)).said_by)
        if not asked or "text" not in self._open(texts).own_fields:
            raise RecipeError(
                f"{texts}: has no text features of {self.alias or 'the teacher'}, which is to be learned from; "
                "choose a teacher that reads texts (leave --teacher out), or another goal"
            )

    def fields_of(self, store: str) -> set[str]:
        """What the teacher that is learned from said of a store; RecipeError where that was not asked about it."""
        opened = FeatureStore(expand(store))
        if self.alias not in (None, *opened.said_by):
            raise RecipeError(
                f"{store}: has features of {', '.join(opened.said_by)}, but {self.alias} is learned from, the teacher "
                f"of {self.images}; extract this store with {self.alias}, too, or measure on another store"
            )
        return {*self._open(store).own_fields}

    def labelled(self, store: str) -> bool:
        """Whether images of a store have class numbers."""
        opened = FeatureStore(expand(store))
        return bool(pc.any(pc.greater_equal(opened.index["label"].take(opened.ok_rows), 0)).as_py())

    @property
    def teacher(self) -> dict[str, Any]:
        """The fingerprint of whoever is learned from."""
        return self.store.teacher(next(iter(self.store.own_fields)))

    @property
    def shown(self) -> int:
        """Pixels of a side that the teacher looked at; 224 where that is not known."""
        size = self.teacher.get("image_size") or self.teacher.get("preprocess", {}).get("size", 224)
        return int(size if isinstance(size, int) else min(size))

    def scale(self, temperature: float = 1.0) -> str:
        """The logit scale as a recipe has it: the teacher's own, or what makes its targets neither one-hot nor flat.

        A term divides by its `temperature`, so the second is multiplied by it, as suggest-scale advises.
        """
        if self.teacher.get("logit_scale") is not None:
            return '"teacher"'
        chosen = np.random.default_rng(0).permutation(self.store.ok_rows)[:_SOME]
        view = 0 if self.store.field("image").per_view else None
        said = self.store.read("image", np.sort(chosen), view=view)
        found = temperature * scale_for(cosines(said, said))
        return f"{found:.3g}  # the teacher has none of its own; see distillkit suggest-scale"
