"""Two stores of the same images, made at different times: their rows are joined by key, never by position."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from distillkit.errors import RecipeError
from distillkit.store.reading.lookup import find
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count


def join(one: FeatureStore, other: FeatureStore, name: str) -> tuple[Int64[np.ndarray, "n"], str]:
    """For each row of `one` the row of `other` with the same key, -1 where it has none; and what is missing, in a line.

    RecipeError when no key is in both.
    """
    if one.path.resolve() == other.path.resolve():
        place = np.full(len(one), -1, np.int64)
        place[other.ok_rows] = other.ok_rows
        return place, ""
    place = find(one.index["key"].combine_chunks(), other.index["key"])
    usable = np.zeros(len(other) + 1, bool)  # the last one is where -1 looks
    usable[other.ok_rows] = True
    place[~usable[place]] = -1
    place[one.failed_rows] = -1
    common = int((place >= 0).sum())
    if not common:
        raise RecipeError(f"{name}: {other.path} shares no key with {one.path}; extract both from the same source")
    here, there = (len(store) - len(store.failed_rows) for store in (one, other))
    told = (
        f"{name}: {here - common} of {count(here, 'key')} of {one.path} are missing in {other.path}, "
        f"{there - common} of its "
    )
    return place, told + f"{there} are not used" if (here, there) != (common, common) else ""
