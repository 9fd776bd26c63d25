"""Which images of a class are the few that are shown: chosen by their keys, so that every part of a run agrees."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Int64

from distillkit.errors import StoreError
from distillkit.evals._labels import Labels


def shots_of(store: Any, labels: Labels, count: int, seed: int = 0) -> Int64[np.ndarray, "s"]:
    """Places, among the usable rows of `store`, of `count` images of each class, or as many as there are.

    By a hash of seed and key: more images, or other classes, beside them choose no others.
    """
    keys = store.index["key"].take(store.ok_rows[labels.places])
    order = np.fromiter((_mark(seed, key) for key in keys.to_pylist()), np.uint64, len(keys))
    drawn = np.lexsort((order, labels.ids))
    _, first = np.unique(labels.ids[drawn], return_index=True)
    nth = np.arange(len(drawn)) - np.repeat(first, np.diff([*first, len(drawn)]))
    return np.sort(labels.places[drawn[nth < count]])


def all_are_shots(store: Any, kind: str, count: int, least: int) -> StoreError:
    """The refusal where no image is left to ask about; `least`: the fewest shots that this measure takes."""
    lower = f"lower evals.{kind}.shots = {count}, or " if count > least else ""
    return StoreError(f"{store.path}: all images are shots; {lower}name a store with more images of a class")


def _mark(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest())
