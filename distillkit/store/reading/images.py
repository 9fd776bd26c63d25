"""Whether rows are of one image, of one store or of two. Within one, `system.one_image` tells it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from distillkit.system.one_image import called_in, first_of_each


def share_images(store: Any) -> bool:
    """Whether any two rows of the store are of one image; of a view, any two of the store that it is of."""
    places = store.index["image"]
    return bool(pc.count_distinct(places).as_py() < len(places) - places.null_count)


def one_place(one: Any, other: Any) -> bool:
    """Whether equal places in the two stores are the same image: both are below one root, or one source has none."""
    facts = one.manifest.source, other.manifest.source
    roots = [source.get("root") for source in facts]
    if roots[0] is not None or roots[1] is not None:
        return bool(roots[0] == roots[1])
    return all(facts[0].get(what) == facts[1].get(what) for what in ("kind", "knobs"))


def of_images_of(
    store: Any, rows: Int64[np.ndarray, "n"], others: Int64[np.ndarray, "m"], other: Any = None
) -> Bool[np.ndarray, "n"]:
    """Which of `rows` are of an image that a row of `others` is of, too: bool [n]. `others` are rows of the store
    `other`, or of the same one.
    """
    other = store if other is None else other
    if other is not store and not one_place(store, other):
        return np.zeros(len(rows), bool)
    taken = pc.unique(other.index["image"].take(pa.array(others)))
    found: Bool[np.ndarray, "n"] = pc.is_in(
        store.index["image"].take(pa.array(rows)), value_set=taken.drop_null(), skip_nulls=True
    ).to_numpy()
    return found


def same_files(measured: Any, trained: Any, rows: Int64[np.ndarray, "m"]) -> Bool[np.ndarray, "n"]:
    """Which usable rows of `measured` are image files of these rows of `trained`."""
    below = called_in(trained, measured, measured.ok_rows)
    # The small side is hashed, the training index (perhaps millions of rows) is only streamed through.
    hit = pc.is_in(trained.index["image"], value_set=pa.array(sorted(filter(None, set(below))), pa.string()))
    there = np.intersect1d(np.flatnonzero(hit.to_numpy()), rows)  # the index has the rows outside of a view, too
    found = set(trained.index["image"].take(pa.array(there)).to_pylist())
    return np.array([name is not None and name in found for name in below], bool)


def one_row_each(store: Any, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
    """Of these rows one for each image, the first: what is shown or found is a picture, not its every caption."""
    return rows[first_of_each(store, rows)] if share_images(store) else rows
