"""Rows of a compressed field, unpacked by zarr as they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from torch import Tensor
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore, StorePath

from distillkit.errors import StoreError
from distillkit.store.encode import decode
from distillkit.store.field import Field
from distillkit.store.layout import array_metadata


class Packed:
    """All rows of the field called `name` in the store at `path`. What the array is, the manifest says."""

    def __init__(self, path: Path, name: str, field: Field, rows: int, rows_per_shard: int):
        self.path, self.field = path / name, field
        metadata = ArrayV3Metadata.from_dict(array_metadata(rows, rows_per_shard, field))
        self._array = zarr.Array(zarr.AsyncArray(metadata, StorePath(LocalStore(path, read_only=True), name)))

    def rows(self, index: np.ndarray) -> Tensor:
        """These rows, int64 [n], as they are stored: [n, *shape]. StoreError where one is damaged."""
        wanted, places = np.unique(index, return_inverse=True)
        try:
            found = np.asarray(self._array.oindex[wanted])
        except (OSError, ValueError, RuntimeError) as error:
            store = self.path.parents[1]
            raise StoreError(f"{self.path}: damaged ({error}); run: distillkit store verify {store}") from error
        return decode(np.ascontiguousarray(found[places]), self.field)
