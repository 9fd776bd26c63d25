"""Which images of a class are the few that are shown: chosen by their keys, so that every part of a run agrees."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int64

from distillkit.errors import StoreError
from distillkit.evals._labels import Labels


def shots_of(store: Any, labels: Labels, count: int, seed: int = 0) -> Int64[np.ndarray, "s"]:
    """Places, among the usable rows of `store`, of `count` images of each class, or as many as there are: of an image
    that has several rows all of them, so that none of it is asked.

    By a hash of seed and key: more images, or other classes, beside them choose no others.
    """
    marks = np.fromiter((_mark(seed, name) for name in _names(store, labels)), np.uint64, len(labels.places))
    drawn = np.lexsort((marks, labels.ids))
    classes, images = labels.ids[drawn], marks[drawn]
    begins = np.diff(classes, prepend=-1) != 0
    nth = np.cumsum(begins | (np.diff(images, prepend=images[:1]) != 0))
    nth -= np.repeat(nth[begins], np.diff([*np.flatnonzero(begins), len(drawn)]))
    return np.sort(labels.places[drawn[nth < count]])


def _names(store: Any, labels: Labels) -> list[str]:
    """What each image is drawn by: its key, or its place where rows of the store share images."""
    rows = store.index.take(store.ok_rows[labels.places])
    keys: list[str] = rows["key"].to_pylist()
    if "image" not in rows.column_names:
        return keys
    places = store.index["image"]
    if pc.count_distinct(places).as_py() == len(places) - places.null_count:
        return keys
    return [key if place is None else place for key, place in zip(keys, rows["image"].to_pylist(), strict=True)]


def all_are_shots(store: Any, kind: str, count: int, least: int) -> StoreError:
    """The refusal where no image is left to ask about; `least`: the fewest shots that this measure takes."""
    lower = f"lower evals.{kind}.shots = {count}, or " if count > least else ""
    return StoreError(f"{store.path}: all images are shots; {lower}name a store with more images of a class")


def _mark(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest())
