"""One field of a store as a table of rows: read at random or from end to end, wherever its shards are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.bucket.coming import Shelved
from distillkit.store.format.field import Field
from distillkit.store.format.packed import Packed
from distillkit.store.format.steps import Steps
from distillkit.store.reading.gather import gather
from distillkit.store.reading.mapping import page_in


class Table:
    """`rows` rows of the field `name` of the store at `path`.

    `values`: the rows as they are stored, mapped or compressed. `steps`: what those of int8 mean. `coming`: of a store
    behind a URL, or of more shards than can be mapped at once, what brings the shards; a row can be touched only while
    its shard is here.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        field: Field,
        rows: int,
        values: Tensor | Packed,
        steps: Steps | None = None,
        coming: Shelved | None = None,
    ):
        self.path, self.name, self.field, self.rows = path, name, field, rows
        self.values, self.steps, self.coming = values, steps, coming

    def read(
        self,
        rows: np.ndarray | Tensor,
        out: Tensor | None = None,
        view: int | np.ndarray | Tensor | None = None,
        raw: bool = False,
    ) -> Tensor:
        """As FeatureStore.read."""
        index = self._numbers(rows)
        views = None if view is None else self._views(index, view)
        steps = None if raw else self.steps
        shape = (len(index), *(self.field.shape if views is None else self.field.view_shape))
        out = self._room(shape, self.values.dtype if steps is None else torch.float32, out)
        if steps is None:
            return self._gather(index, views, out)
        return steps.decode(self._gather(index, views, torch.empty(shape, dtype=self.values.dtype)), out)

    def _gather(self, rows: np.ndarray, views: np.ndarray | None, out: Tensor) -> Tensor:
        """Rows, or one view of each, into `out`; where shards come and go, as many at once as can be here."""
        if self.coming is None:
            return self._present(rows, views, out)
        for places in self.coming.portions(rows):
            if isinstance(places, slice):
                self._present(rows, views, out)
            else:
                part = torch.empty(len(places), *out.shape[1:], dtype=out.dtype)
                out[places] = self._present(rows[places], None if views is None else views[places], part)
        return out

    def _present(self, rows: np.ndarray, views: np.ndarray | None, out: Tensor) -> Tensor:
        values, index = self.values, rows
        if isinstance(values, Packed):
            values, index = values.rows(rows), np.arange(len(rows))
        if views is not None:  # every view is a row of its own
            values, index = values.flatten(0, 1), index * self.field.views + views
        return gather(values, index, out)

    def _numbers(self, rows: np.ndarray | Tensor) -> np.ndarray:
        """Row numbers as int64, all of rows that are there; a mask or fractions would become other rows."""
        index = np.asarray(rows)
        if index.ndim != 1 or (len(index) and index.dtype.kind not in "iu"):
            raise StoreError(
                f"{self.path}: rows are a list of whole numbers, not {index.dtype} {list(index.shape)}; "
                "of a mask take np.flatnonzero"
            )
        index = np.ascontiguousarray(index, np.int64)
        if len(index) and index.view(np.uint64).max() >= self.rows:  # below 0 is beyond all others
            raise StoreError(f"{self.path}: rows {index.min()}..{index.max()} asked for, it has {self.rows}")
        return index

    def _views(self, rows: np.ndarray, view: int | np.ndarray | Tensor) -> np.ndarray:
        """Which view of each row is meant."""
        views = np.asarray(view)
        if not self.field.per_view:
            raise StoreError(f"{self.path}: {self.name!r} has one value for all views; read it without `view`")
        if views.shape not in ((), rows.shape) or not ((views >= 0) & (views < self.field.views)).all():
            have = f"0 to {self.field.views - 1}, one for all rows or for each"
            raise StoreError(f"{self.path}: view {view} of {self.name!r} asked for, it has {have}")
        return np.broadcast_to(views, rows.shape)

    def _room(self, shape: tuple[int, ...], dtype: torch.dtype, out: Tensor | None) -> Tensor:
        """Memory for what is read: `out`, if it is as it must be."""
        if out is None:
            return torch.empty(shape, dtype=dtype)
        if out.shape != shape or out.dtype != dtype or out.is_cuda or not out.is_contiguous():
            want = f"a contiguous {dtype} {list(shape)} in memory"
            raise StoreError(f"{self.path}: {self.name!r} is read into {want}, not into {out.dtype} {list(out.shape)}")
        return out

    def fetch(self, runs: Iterable[tuple[int, int]]) -> None:
        """Of a store behind a URL, bring the shards of these runs of rows to the cache, several at once."""
        if self.coming is not None:
            self.coming.fetch(sorted({shard for run in runs for shard in self.coming.shards(*run)}))

    def page_in(self, first: int, stop: int) -> None:
        """Read a run of rows into the page cache; compressed ones are not read ahead."""
        if isinstance(self.values, Packed):
            return
        try:
            if self.coming is None:
                page_in(self.values[first:stop])
                return
            for shard in self.coming.shards(first, stop):
                with self.coming.reading([shard]):
                    start, end = self.coming.span(shard)
                    page_in(self.values[max(start, first) : min(end, stop)])
        except OSError as error:
            run = f"rows {first} to {stop} of {self.name!r}"
            raise StoreError(f"{self.path}: {run} cannot be read ({error.strerror}); is the disk well?") from error
