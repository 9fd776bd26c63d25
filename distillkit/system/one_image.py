"""Which rows of a store, or of two, are of one image. Where a source keeps every caption (captions = "all"), each is a
row.
"""

from __future__ import annotations

from pathlib import Path
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


def called_in(other: Any, store: Any, rows: Int64[np.ndarray, "n"]) -> list[str | None]:
    """What the index of the store `other` calls the images of these rows of `store`, None of what it cannot have."""
    names: list[str | None] = store.index["image"].take(pa.array(rows)).to_pylist()
    if store is other or not any(names):
        return names
    if store.root is None or other.root is None:
        # Outside folders, only the same source has the same images.
        same = all(store.manifest.source[what] == other.manifest.source[what] for what in ("kind", "knobs"))
        return names if same else [None] * len(names)
    return _moved(names, store.root, other.root)


def places_among(
    store: Any, rows: Int64[np.ndarray, "n"], other: Any, others: Int64[np.ndarray, "m"]
) -> Int64[np.ndarray, "n"]:
    """For each of `rows` the first place in `others`, rows of the store `other`, that is of the same image; else -1."""
    names = pa.array(called_in(other, store, rows), pa.string())
    known = other.index["image"].take(pa.array(others)).combine_chunks()
    first = pa.table({"image": known, "place": np.arange(len(known))}).group_by("image").aggregate([("place", "min")])
    at = pc.index_in(names, value_set=first["image"], skip_nulls=True)
    return pc.fill_null(first["place_min"].take(at), -1).to_numpy().astype(np.int64)


def _moved(names: list[str | None], root: Path, other: Path) -> list[str | None]:
    """What these names below one root are below the other, None of what lies outside. They may be millions."""
    if root.is_relative_to(other):
        before = "".join(f"{part}/" for part in root.relative_to(other).parts)
        return names if not before else [None if name is None else before + name for name in names]
    if not other.is_relative_to(root):
        return [None] * len(names)
    before = "".join(f"{part}/" for part in other.relative_to(root).parts)
    return [name.removeprefix(before) if name is not None and name.startswith(before) else None for name in names]
