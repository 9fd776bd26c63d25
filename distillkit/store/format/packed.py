"""Rows of a compressed field, unpacked by zarr as they are asked for."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import torch
import zarr
from torch import Tensor
from zarr.codecs import ZstdCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore, StorePath

from distillkit.errors import StoreError
from distillkit.store.format.encode import decode
from distillkit.store.format.field import Field, blank
from distillkit.store.format.layout import ZSTD_LEVEL, array_metadata, inner_rows, shard_path
from distillkit.system.wording import as_word

_OPEN_FILES = Path("/proc/self/fd")


class Found:
    """A folder by its path, whatever lies there."""

    def __init__(self, path: Path):
        self.path = path

    def refuse_another(self) -> None:
        """StoreError where another one has its path by now."""


class Held(Found):
    """The folder that has this path now, whatever it is called while this is here.

    Where the system has no way to say so, its path, of which `same` says whether another folder has it.
    """

    def __init__(self, path: Path, same: Callable[[], None]):
        super().__init__(path)
        self._same: Callable[[], None] | None = same
        if _OPEN_FILES.is_dir():
            try:
                handle = os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                same()
                raise
            weakref.finalize(self, os.close, handle)
            self.path, self._same = _OPEN_FILES / str(handle), None

    def refuse_another(self) -> None:
        if self._same:
            self._same()


class Packed:
    """All rows of the field called `name` in the store at `path`. What the array is, the manifest says.

    `found`: where its files are opened at each read, by when another store may have that path.
    """

    def __init__(self, path: Path, name: str, field: Field, rows: int, rows_per_shard: int, found: Found | None = None):
        self.path, self.field = path / name, field
        self._name, self._found, self._rows_per_shard = name, found or Found(path), rows_per_shard
        metadata = ArrayV3Metadata.from_dict(array_metadata(rows, rows_per_shard, field))
        (sharding,) = metadata.codecs
        exact = ExactZstd(inner_rows(field) * field.row_bytes)
        object.__setattr__(sharding, "codecs", (*sharding.codecs[:-1], exact))
        self._array = zarr.Array(
            zarr.AsyncArray(metadata, StorePath(LocalStore(self._found.path, read_only=True), name))
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows, as `rows` gives them."""
        return decode(blank(self.field, 0), self.field).dtype

    def rows(self, index: np.ndarray) -> Tensor:
        """These rows, int64 [n], as they are stored: [n, *shape]. StoreError where one is damaged, or its file gone."""
        wanted, places = np.unique(index, return_inverse=True)
        try:
            found = np.asarray(self._array.oindex[wanted])
        except (OSError, ValueError, RuntimeError) as error:
            store = self.path.parents[1]
            raise StoreError(
                f"{self.path}: damaged ({error}); run: distillkit store verify {as_word(store)}"
            ) from error
        self._refuse_what_is_gone(wanted)
        return decode(np.ascontiguousarray(found[places]), self.field)

    def _refuse_what_is_gone(self, rows: np.ndarray) -> None:
        """Of a shard without a file zarr says that all of its rows are blank."""
        self._found.refuse_another()
        for shard in np.unique(rows // self._rows_per_shard).tolist():
            place = shard_path(self._name, shard, self.field)
            if not (self._found.path / place).is_file():
                store = self.path.parents[1]
                raise StoreError(
                    f"{store}: {place} went while it was read; is the store still there? If so, run: distillkit store "
                    f"verify {as_word(store)}"
                )


class ExactZstd(ZstdCodec):
    """zarr's own takes as much memory as a chunk says that it needs: a few KB may say 4 GiB."""

    def __init__(self, size: int):
        super().__init__(level=ZSTD_LEVEL)
        object.__setattr__(self, "size", size)

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        packed = chunk_bytes.to_bytes()
        return chunk_spec.prototype.buffer.from_bytes(
            pa.decompress(packed, decompressed_size=self.size, codec="zstd", asbytes=True)
        )

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


class Opened:
    """The shards of a compressed field of a store behind a URL: each kept open while it is read, so that it stays."""

    seconds = 0.0

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def put(self, shard: int, file: BinaryIO) -> None:
        self._files[shard] = os.dup(file.fileno())

    def drop(self, shard: int) -> None:
        os.close(self._files.pop(shard))
