"""Some rows of one field of a store, as unit vectors in float32, read a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import as_word
from distillkit.system.wording import count as counted

_IN_CACHE = 256  # rows that are converted and scaled while they are in the processor's cache
IN_STEP = 1024  # rows that are read for a query; of fewer, calls would take as long as work
_LOOKED_AT = 1000  # rows whose lengths tell whether a field is normalised


@dataclass(frozen=True)
class Vectors:
    """`rows` of `field`; a place is a number from 0 to len, `rows[place]` its row in the store."""

    store: FeatureStore
    field: str
    rows: Int[np.ndarray, "n"]

    @classmethod
    def of(cls, store: FeatureStore, field: str) -> Vectors:
        """Every row that has features; StoreError when there is none, or when a row of the field is no vector."""
        shape = store.field(field).view_shape
        if len(shape) != 1:
            raise StoreError(
                f"{store.path}: {field!r} has rows of shape {shape}, no vectors; name a field of embeddings"
            )
        if len(store.ok_rows) == 0:
            raise StoreError(f"{store.path}: no row has features; why: distillkit store failures {as_word(store.path)}")
        rows = store.rows_with(field)
        if len(rows) == 0:
            raise StoreError(
                f"{store.path}: no row has a text, so {field!r} has no vectors; name another field or store"
            )
        return cls(store, field, rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return self.store.field(self.field).shape[-1]

    @cached_property
    def _view(self) -> int | None:
        """Of several views of an image, the first, which is the clean one."""
        return 0 if self.store.field(self.field).per_view else None

    def only(self, rows: Int[np.ndarray, "m"]) -> Vectors:
        """The same field of other rows."""
        return replace(self, rows=rows)

    def rows_at(self, places: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """Rows of the places that a search names; -1 where it found none, which is not the last row."""
        return np.where(places >= 0, self.rows[places], -1)

    def unit(self, places: np.ndarray | slice, out: Float[np.ndarray, "n d"] | None = None) -> Float[np.ndarray, "n d"]:
        """Rows scaled to length 1, into `out` if given. StoreError names the first without direction (zero or NaN)."""
        rows = self.rows[places]
        units = torch.empty(len(rows), self.width) if out is None else torch.from_numpy(out)
        for part, lengths in self._parts(rows, units):
            # The least is NaN where any is, and no sum of squares of finite halves is infinite.
            if not 0 < float(lengths.min()) < torch.inf:
                self._refuse(rows[part], lengths)
            units[part].div_(lengths[:, None])
        return units.numpy()

    def directed(self, say: Say) -> Vectors:
        """Without rows of zeros or NaN, which point nowhere; how many, is told. StoreError where all are so."""
        lengths = self.lengths().numpy()
        usable = np.isfinite(lengths) & (lengths > 0)
        if usable.all():
            return self
        key = self.store.index["key"][int(self.rows[int(usable.argmin())])].as_py()
        told = (
            f"{self.store.path}: {self.field} of {counted(int((~usable).sum()), 'row')} is zero or NaN, as of {key!r}"
        )
        if not usable.any():
            raise StoreError(f"{told}; no row has a direction, extract the store again")
        say(f"{told}; these rows are left out")
        return self.only(self.rows[usable])

    def lengths(self) -> Float[Tensor, "n"]:
        """The length of every row, as stored."""
        scratch, lengths = torch.empty(_IN_CACHE, self.width), torch.empty(len(self))
        for first in range(0, len(self), _IN_CACHE):
            rows = self.rows[first : first + _IN_CACHE]
            for _, found in self._parts(rows, scratch[: len(rows)]):
                lengths[first : first + len(rows)] = found
        return lengths

    def dots(self, query: Float[Tensor, "d"], places: Int[np.ndarray, "n"]) -> Float[Tensor, "n"]:
        """Inner products of a query with rows as they are stored, some rows at a time."""
        rows, scores = self.rows[places], torch.empty(len(places))
        scratch = torch.empty(min(IN_STEP, len(places)), self.width)
        for first in range(0, len(rows), IN_STEP):
            part = slice(first, first + IN_STEP)
            some = scratch[: len(rows[part])]
            self._raw_into(rows[part], some)
            torch.mv(some, query, out=scores[part])
        return scores

    def _parts(self, rows: np.ndarray, into: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Put rows into `into`, a part after the other; with each part the lengths of its rows."""
        for first in range(0, len(rows), _IN_CACHE):
            part = slice(first, first + _IN_CACHE)
            self._raw_into(rows[part], into[part])
            yield part, torch.linalg.vector_norm(into[part], dim=1)

    def _raw_into(self, rows: np.ndarray, into: Float[Tensor, "n d"]) -> None:
        into.copy_(self.store.read(self.field, rows, view=self._view))

    def _refuse(self, rows: np.ndarray, lengths: Tensor) -> NoReturn:
        usable = torch.isfinite(lengths) & (lengths > 0)
        key = self.store.index["key"][int(rows[int(usable.int().argmin())])].as_py()
        told = f"{self.store.path}: {self.field} of {key!r} is zero or NaN and has no direction"
        raise StoreError(f"{told}; mend its source, and make the store again")

    def sample(self, count: int, seed: int) -> Int[np.ndarray, "m"]:
        """`count` places (all, if there are fewer), drawn without replacement, in order."""
        if count >= len(self):
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))

    def length_range(self) -> tuple[float, float]:
        """Least and greatest length of some rows, as stored."""
        lengths = self.only(self.rows[self.sample(_LOOKED_AT, 0)]).lengths()
        return float(lengths.min()), float(lengths.max())
