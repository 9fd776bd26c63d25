"""Which rows those were, told by their keys: what a run keeps, to know them again in a store that has grown since."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Int64

from distillkit.store.reading.reader import FeatureStore

_BLOCK = 65_536  # keys in memory at once


def keys_sha256(store: FeatureStore, rows: Int64[np.ndarray, "n"]) -> str:
    """sha256 of the keys of these rows, in this order."""
    made = hashlib.sha256()
    for first in range(0, len(rows), _BLOCK):
        keys = store.values("key", rows[first : first + _BLOCK])
        made.update("".join(f"{len(key)}:{key}" for key in keys).encode())
    return made.hexdigest()


def rows_again(store: FeatureStore, number: int, sha256: str) -> Int64[np.ndarray, "n"] | None:
    """The usable rows that were `number` with keys of that sha256: all, or where rows were added behind, the first.

    None where the store has others now.
    """
    first = store.ok_rows[:number]
    return first if len(first) == number and keys_sha256(store, first) == sha256 else None
