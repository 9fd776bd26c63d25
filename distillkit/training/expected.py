"""What the stores of a recipe hold, as far as a plan asks; of one that is not there yet, what the recipe expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._labels import labels_of
from distillkit.recipe import TrainRecipe
from distillkit.store.format.manifest import FILE_NAME as MANIFEST
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.system.paths import expand, or_else
from distillkit.training.further import usable
from distillkit.training.stores import texts_store


class Expected(NamedTuple):
    """`rows`: usable ones. `widths`: by field of the teacher. `patches`: tokens of a view. `views`: of an image."""

    rows: int
    widths: dict[str, int]
    patches: int
    views: int


def expected_of(recipe: TrainRecipe) -> Expected:
    """What the store that an epoch is made of holds, or `[data.expect]`. RecipeError where neither is there."""
    data = recipe.data
    expect: Any = data.expect
    first = data.mix[0].images if data.mix else data.images or data.texts
    named = data.texts or data.classes
    known = [is_there(one) for one in (first, named) if one]
    try:
        store = FeatureStore(expand(first or ""), data.teacher)
        texts = FeatureStore(expand(named)) if named else None
    except StoreError as error:
        if all(known):
            raise
        if expect is None:
            cure = "or say in [data.expect] what it will hold: rows, widths"
            raise RecipeError(or_else(str(error), cure)) from error
        return Expected(expect.rows, dict(expect.widths), expect.patches, expect.views)
    shapes = {name: field.view_shape for name, field in store.own_fields.items()}
    widths = {name: shape[-1] for name, shape in shapes.items()} | {"scale": 1}
    if data.labels:
        widths["label"] = len(np.unique(labels_of(store, data.class_names).ids))
    if named and texts is not None:
        told = texts_store(named, data.teacher, "data.texts" if data.texts else "data.classes")
        widths |= {"text": told.field("text").shape[-1]}
    return Expected(usable(store, data), widths, shapes.get("patches", [0])[0], store.views.count)


def is_there(store: str) -> bool:
    """Whether a store is there, by its path or URL; StoreError where it is and cannot be opened."""
    place = expand(store)
    try:
        FeatureStore(place)
    except StoreError:
        if any((Path(place) / name).is_file() for name in (MANIFEST, VIEW)):
            raise
        return False
    return True
