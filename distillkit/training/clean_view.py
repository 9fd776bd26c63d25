"""What a teacher looked at, for a student that learns its patches: they lie over the pixels of that view alone.

Other features are of the whole image, or nearly, and go with any crop of it (`data.views = "own"`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from distillkit.pixels.looks import look_of, pads
from distillkit.pixels.pillow import centre_view
from distillkit.pixels.views import unpacked
from distillkit.recipe import Data
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.reader import FeatureStore
from distillkit.types import View

_SHAPES = (640, 480), (480, 640)


def whose_patches(needs: Iterable[str]) -> list[str]:
    """The teachers of whom patches are learned, by name; "teacher" is the main one."""
    sides = (need.split(".") for need in needs)
    return sorted({side for side, field in sides if field == "patches" and side != "student"})


def first_drawn(store: FeatureStore, rows: np.ndarray) -> list[View]:
    """View 0 of each row, of a store in which that is no clean view; of others nothing."""
    if PARAMETERS not in store.fields or store.manifest.views.get("clean_first"):
        return []
    return [unpacked(row) for row in store.read(PARAMETERS, rows, view=np.zeros(len(rows), np.int64)).numpy()]


def same_views(one: FeatureStore, other: FeatureStore) -> bool:
    """Whether view v of a row in one store is view v of that row in the other."""
    if one.path.resolve() == other.path.resolve():
        return True
    return all(PARAMETERS in store.fields for store in (one, other)) and one.manifest.views == other.manifest.views


def other_looks(
    store: FeatureStore, others: dict[str, FeatureStore], data: Data, needs: Iterable[str]
) -> Iterator[str]:
    """What to tell of features that are of another view than the one that the student is shown, a line each."""
    asked, of = {need.split(".")[0] for need in needs}, {"teacher": store} | others
    patches = [name for name in whose_patches(needs) if "patches" in of[name].own_fields]
    if data.views == "own":
        if "teacher" in asked and PARAMETERS in store.fields and not store.manifest.views.get("clean_first"):
            yield f'{store.path}: features are of its first view, which was drawn; data.views = "stored" shows it'
        looked = [of[name].teacher("patches") for name in patches]
        for name, teacher in zip(patches, looked, strict=True):
            if pads(teacher):
                yield f"{of[name].path}: its teacher put borders around images; its patches are not the student's"
        if len({str([(look_of(teacher) or centre_view)(*size) for size in _SHAPES]) for teacher in looked}) > 1:
            yield f"data.also: {' and '.join(patches)} looked at other parts of an image; the student sees the first's"
        return
    for name in sorted(asked & others.keys()):
        if not same_views(store, others[name]):
            first = "of its first view" if PARAMETERS in others[name].fields else "of its clean view"
            more = ", and its patches are not the student's" if name in patches else ""
            yield (
                f"data.also.{name}: {others[name].path} keeps other views than {store.path}; what it says is {first}, "
                f"whatever view the student is shown{more}"
            )
