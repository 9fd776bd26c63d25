"""Whether the class prompts of a recipe are numbered as its images are: in training and in what measures it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from distillkit.evals._class_order import order_of, orders_of
from distillkit.recipe import TrainRecipe
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand


def class_orders(recipe: TrainRecipe) -> list[str]:
    """What is to be told of it, each line once; RecipeError as of `order_of`."""
    data, open_store = recipe.data, lru_cache(lambda name: FeatureStore(expand(name)))
    alone = [(data.images, data.first_class)] if data.images else []
    images = [(one.images, one.first_class) for one in data.mix] or alone
    found: list[str] = []
    for store, first in images:
        if data.classes:
            found += order_of(store, data.classes, open_store, data.class_names, first)
    for component in [*([recipe.validation.eval] if recipe.validation else []), *recipe.evals]:
        measure: Any = component.build("evals")
        found += orders_of(measure, open_store)
    return list(dict.fromkeys(found))
