"""The images behind the rows of a shard, each once: several captions of an image cost one decode and one forward.

What a teacher said of it is written to each of its rows. Where views are drawn each row has views of its own, by its
key, and so is looked at by itself.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from distillkit.engine.job import Job


class Distinct:
    """`first`: the first row of each image, rising. Rows without an image are none's twins."""

    def __init__(self, job: Job, plan: pa.Table):
        rows = np.arange(plan.num_rows)
        number = rows if job.corpus.drawn_views else _first_with_the_same(plan["image"])
        self.first = np.flatnonzero(number == rows)
        self._image = np.searchsorted(self.first, number)

    @cached_property
    def _rows(self) -> list[Int64[np.ndarray, "r"]]:
        return np.split(np.argsort(self._image, kind="stable"), np.cumsum(np.bincount(self._image))[:-1])

    def __len__(self) -> int:
        return len(self.first)

    @property
    def shared(self) -> bool:
        """Whether some rows have the image of another."""
        return len(self.first) < len(self._image)

    def of(self, row: int) -> int:
        """The image of a row."""
        return int(self._image[row])

    def rows(self, image: int) -> list[int]:
        """All rows of an image."""
        rows: list[int] = self._rows[image].tolist() if self.shared else [int(self.first[image])]
        return rows


def _first_with_the_same(image: pa.ChunkedArray) -> Int64[np.ndarray, "n"]:
    """For each row the first one with the same image."""
    rows = np.arange(len(image))
    chunks = pc.dictionary_encode(image).chunks
    codes = np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy() for chunk in chunks] or [rows])
    known, first, which = np.unique(codes, return_index=True, return_inverse=True)
    return np.where(codes < 0, rows, first[which]) if len(known) else rows
