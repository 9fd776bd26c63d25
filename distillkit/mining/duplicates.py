"""Texts that say the same, found before mining: equal ones by their letters, near ones by their cosine."""

from __future__ import annotations

from array import array
from typing import Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from distillkit.callable import Say
from distillkit.mining.found import Found, Tick
from distillkit.mining.vectors import Vectors
from distillkit.store.format.plan import repeated
from distillkit.system.wording import count

_NEAR, _MORE, _MOST = 16, 4, 1024  # neighbours that are looked at for near duplicates: at first, times, at most
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


def unlike(vectors: Vectors, search: Search, cosine: float, say: Say) -> Int[np.ndarray, "m"]:
    """The rows without those that are as near as `cosine` to an earlier one that stays.

    `search` is over `vectors`. Of most rows the 16 nearest are looked at; where all of these are so near and none of
    them stays, four times as many, and so on up to 1,024.
    """
    kept = np.ones(len(vectors), bool)
    for first in range(0, len(vectors), _QUERIES):
        stop = min(first + _QUERIES, len(vectors))
        # Of each row those before it that are so near, and how many the next list is to have, 0 where that has an end.
        before: list[Int[np.ndarray, "e"]] = [np.empty(0, np.int64)] * (stop - first)
        next_of = np.full(stop - first, min(_NEAR, len(vectors)))
        while len(asked := np.flatnonzero(kept[first:stop] & (next_of > 0))):
            many = int(next_of[asked].min())
            asked = asked[next_of[asked] == many]
            found = search.search(vectors.unit(first + asked), many)
            near = (found.scores >= cosine) & (found.places >= 0)
            for row, places, such in zip(asked.tolist(), found.places, near, strict=True):
                before[row] = places[such & (places < first + row)]
            further = min(_MORE * many, _MOST, len(vectors))
            next_of[asked] = np.where(near.all(axis=1) & (further > many), further, 0)
            for row, ones in enumerate(before, first):
                kept[row] = not kept[ones].any()
        say(f"near duplicates: {stop:,} of {count(len(vectors), 'text')} looked at, {int((~kept).sum()):,} found")
    return vectors.rows[kept]
