"""Which rows of a store are of one image: where a source keeps every caption (captions = "all"), each is a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64


def images_of(store: Any, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """A number for the image of each row, equal for rows of one image, from 0 on in order of appearance.

    One image is one place where it lies, below the source's root; a row without a place is an image of its own.
    """
    places = store.index["image"].take(pa.array(rows))
    codes = pc.fill_null(places.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    alone = codes < 0
    codes[alone] = len(rows) + np.arange(int(alone.sum()))
    first, number = np.unique(codes, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[number].astype(np.int64)


def first_of_each(store: Any, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
    """Places in `rows`, rising: the first row of every image among them."""
    return np.unique(images_of(store, rows), return_index=True)[1]


def rows_of_images(store: Any) -> Int64[np.ndarray, "m"]:
    """The usable rows, of each image the first alone."""
    rows: Int64[np.ndarray, "n"] = store.ok_rows
    return rows[first_of_each(store, rows)]


def has_doubles(store: Any) -> bool:
    """Whether some usable rows are of one image."""
    return len(rows_of_images(store)) < len(store.ok_rows)
