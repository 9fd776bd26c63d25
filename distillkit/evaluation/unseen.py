"""Which images of a store, that a student is measured on, are files that it is trained on; and how to hold them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from distillkit.recipe import Data, TrainRecipe
from distillkit.store.reading.images import one_place, same_files
from distillkit.store.reading.reader import FeatureStore, store_or_none
from distillkit.system.one_image import first_of_each
from distillkit.system.paths import expand
from distillkit.system.wording import as_word, count

_TOLD = 3  # keys, of many
_ASKED = ("store", "seen")  # what measures call the images that they ask about


def measured_in_training(recipe: TrainRecipe) -> list[str]:
    """A line for each store of images that the recipe measures on and trains on, too; stores that lack are left out."""
    trained = _trained(recipe.data)
    named = [("validation", recipe.validation.eval)] if recipe.validation else []
    lines: dict[str, None] = {}
    for place, component in [*named, *(("evaluation", one) for one in recipe.evals)]:
        measure: Any = component.build("evals")
        for name in filter(None, (getattr(measure, what, None) for what in _ASKED)):
            measured = store_or_none(expand(name))
            told = _in_each(name, measured, trained) if measured else []
            lines |= dict.fromkeys(f"{place} by {component.kind}: {line}" for line in told)
    return list(lines)


def _in_each(name: str, measured: FeatureStore, trained: Sequence[FeatureStore]) -> Iterator[str]:
    """How many images of the store `name` are in each that is trained on, and how to hold them out."""
    for store in trained:
        known = same_files(measured, store, store.ok_rows)
        if known.any():
            every = count(len(first_of_each(measured, measured.ok_rows)), "image")
            told = f"{images_among(measured, known):,} of {every} of {name} are trained on{such_as(measured, known)}"
            yield f"{told}; {hold_out(measured, store, known)}"


def images_among(measured: FeatureStore, known: Bool[np.ndarray, "n"]) -> int:
    """How many images they are: of one with several captions every row is known."""
    return len(first_of_each(measured, measured.ok_rows[known]))


def such_as(measured: FeatureStore, known: Bool[np.ndarray, "n"]) -> str:
    """The keys of the first images that are `known`, for a line that has counted them; nothing where those are all."""
    if known.all():
        return ""
    rows = measured.ok_rows[known]
    each = rows[first_of_each(measured, rows)]
    keys = ", ".join(map(repr, measured.values("key", each[:_TOLD])))
    return f", such as {keys}" if len(each) > _TOLD else f": {keys}"


def hold_out(measured: FeatureStore, trained: FeatureStore, known: Bool[np.ndarray, "n"]) -> str:
    """How to train without the images of `measured` that are `known`, or where those are all, with fewer of both."""
    if not one_place(measured, trained):
        return f"leave them out of {trained.path}, which finds them below another folder"
    store = as_word(trained.path)
    if len(trained.ok_rows) <= int(known.sum()) and _all_in(trained, measured):
        view = f"distillkit store view {store} HELD-OUT --share 0.2"
        return f"to hold some out: {view}, and train on --other-than HELD-OUT"
    return f"to hold them out, train on: distillkit store view {store} VIEW --other-than {as_word(measured.path)}"


def _all_in(trained: FeatureStore, measured: FeatureStore) -> bool:
    return bool(same_files(trained, measured, measured.ok_rows).all())


def _trained(data: Data) -> list[FeatureStore]:
    """Not those of which a few shots are shown: what measures with as many shots asks about none of these."""
    named = dict.fromkeys([data.images, *(one.images for one in data.mix if not one.shots)])
    found = [store_or_none(expand(name)) for name in named if name]
    return [store for store in found if store is not None]
