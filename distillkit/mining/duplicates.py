"""Texts that say the same, found before mining: equal ones by their letters, near ones by their cosine."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from distillkit.mining.found import Found, Tick
from distillkit.mining.vectors import Vectors
from distillkit.store.format.plan import repeated
from distillkit.system.wording import count

_NEAR = 16  # neighbours that are looked at for near duplicates
_QUERIES = 4096
_BLOCK = 65_536  # texts that are Python's at a time


class Search(Protocol):
    """Anything that finds the nearest rows of unit vectors."""

    name: str

    def search(self, queries: Float[np.ndarray, "n d"], k: int, tick: Tick = ...) -> Found: ...


def unequal(vectors: Vectors) -> Int[np.ndarray, "m"]:
    """The rows, in order, without those whose text has come before. 8 bytes of each text are in memory, and a block."""
    texts: pa.ChunkedArray = vectors.store.index["text"]
    marks, meant = array("q"), np.zeros(len(texts), bool)
    meant[vectors.rows] = True
    for block in (chunk.slice(first, _BLOCK) for chunk in texts.chunks for first in range(0, len(chunk), _BLOCK)):
        marks.extend(hash(text) for text in block.to_pylist())
    return np.setdiff1d(vectors.rows, repeated(texts, np.frombuffer(marks, np.int64), meant), assume_unique=True)


def unlike(vectors: Vectors, search: Search, cosine: float, say: Callable[[str], None]) -> Int[np.ndarray, "m"]:
    """The rows without those that are as near as `cosine` to an earlier one that stays.

    `search` is over `vectors`. Of a row with more than 16 nearer ones, only these are looked at.
    """
    kept = np.ones(len(vectors), bool)
    for first in range(0, len(vectors), _QUERIES):
        found = search.search(vectors.unit(slice(first, first + _QUERIES)), min(_NEAR, len(vectors)))
        own = np.arange(first, first + len(found.scores))[:, None]
        near = (found.scores >= cosine) & (found.places >= 0) & (found.places < own)
        for row in np.flatnonzero(near.any(axis=1)):
            kept[first + row] = not kept[found.places[row][near[row]]].any()
        say(
            f"near duplicates: {first + len(own):,} of {count(len(vectors), 'text')} looked at, "
            f"{int((~kept).sum()):,} found"
        )
    return vectors.rows[kept]
