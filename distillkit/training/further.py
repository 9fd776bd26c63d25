"""What the stores of further teachers (data.also) hold, before any batch is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from distillkit.errors import RecipeError, StoreError
from distillkit.recipe import Data
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.training.join import join


def _further(data: Data) -> dict[str, FeatureStore]:
    """What each further teacher said; RecipeError for one that is not extracted yet."""
    found = dict[str, FeatureStore]()
    for name, also in data.also.items():
        try:
            found[name] = FeatureStore(expand(also.images or data.images or ""), also.teacher)
        except StoreError as error:
            raise RecipeError(f"data.also.{name}: {error}") from error
    return found


def usable(store: FeatureStore, data: Data) -> int:
    """Rows of a store of which every further teacher said something, too: no others are learned from."""
    rows = store.ok_rows
    for name, other in _further(data).items():
        rows = rows[join(store, other, f"data.also.{name}")[0][rows] >= 0]
    return len(rows)


def other_widths(data: Data) -> dict[str, dict[str, int]]:
    """Width of each field of each further teacher."""
    found = _further(data).items()
    return {name: {field: said.view_shape[-1] for field, said in store.own_fields.items()} for name, store in found}


def beside_of(data: Data, fields: Sequence[str]) -> dict[str, int]:
    """Numbers that a row of each further teacher's store holds of these `fields`, which are NAME.FIELD."""
    found = {}
    for name, store in _further(data).items():
        asked = (field for who, _, field in (one.partition(".") for one in fields) if who == name)
        read = [store.own_fields[field] for field in asked if field in store.own_fields]
        found[name] = sum(prod(one.view_shape) * (store.views.count if one.per_view else 1) for one in read)
    return found
