"""Which rows of a store are of one image: where a source keeps every caption (captions = "all"), each is a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64


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
    names = measured.index["image"].take(measured.ok_rows).to_pylist()
    if measured.root is None or trained.root is None:
        # Outside folders, only the same source has the same images.
        same = all(measured.manifest.source[what] == trained.manifest.source[what] for what in ("kind", "knobs"))
        below = names if same else [None] * len(names)
    else:
        paths = [None if name is None else measured.root / name for name in names]
        below = [_below(path, trained.root) for path in paths]
    # The small side is hashed, the training index (perhaps millions of rows) is only streamed through.
    hit = pc.is_in(trained.index["image"], value_set=pa.array(sorted({*below} - {None}), pa.string()))
    there = np.intersect1d(np.flatnonzero(hit.to_numpy()), rows)  # the index has the rows outside of a view, too
    found = set(trained.index["image"].take(pa.array(there)).to_pylist())
    return np.array([name is not None and name in found for name in below], bool)


def _below(path: Path | None, root: Path) -> str | None:
    return path.relative_to(root).as_posix() if path is not None and path.is_relative_to(root) else None


def one_row_each(store: Any, rows: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
    """Of these rows one for each image, the first: what is shown or found is a picture, not its every caption."""
    return rows[first_of_each(store, rows)] if share_images(store) else rows
