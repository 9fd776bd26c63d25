"""Which images of a class are the few that are shown: chosen by their keys, so that every part of a run agrees."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def shots_of(store: Any, label: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Places, among the usable rows of `store`, of `count` images of each class; `label` [n], of which below 0 is none.

    By a hash of seed and key: more images, or other classes, beside them choose no others.
    """
    keys = store.index["key"].take(store.ok_rows).to_pylist()
    order = np.array([hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).hexdigest() for key in keys])
    drawn = np.lexsort((order, label))
    _, first = np.unique(label[drawn], return_index=True)
    nth = np.arange(len(drawn)) - np.repeat(first, np.diff([*first, len(drawn)]))
    return np.sort(drawn[(nth < count) & (label[drawn] >= 0)])
