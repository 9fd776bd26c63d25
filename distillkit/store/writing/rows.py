"""The file of one field in one shard: rows, what fills up the last chunk, and zarr's index of the chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numcodecs import Zstd

from distillkit.store.format import layout
from distillkit.store.format.field import Field, blank
from distillkit.store.format.manifest import File
from distillkit.system.atomic import atomic_file


def write_rows(
    path: Path, values: np.ndarray, field: Field, rows_per_shard: int, store: Path, ours: Callable[[], None]
) -> File:
    """Write a shard's rows as they lie on disk, below the folder `store`; returns the file's size and checksum.

    `ours` may refuse before the file gets its name.
    """
    chunk, stored = layout.inner_rows(field), layout.stored_rows(len(values), field)
    padding = blank(field, stored - len(values))
    with ThreadPoolExecutor(1) as thread, atomic_file(path, within=store) as file:
        hashed = _Hashed(file, thread)
        if field.compression:
            chunks = [hashed.write(packed) for packed in _packed(values, padding, chunk)]
        else:
            hashed.write(np.ascontiguousarray(values).data)
            hashed.write(padding.data)
            chunks = [chunk * field.row_bytes] * (stored // chunk)
        hashed.write(layout.shard_index(chunks, rows_per_shard, field))
        ours()
    return hashed.file()


class _Hashed:
    """A file whose checksum is made by a thread while it is written: either takes about as long as the other."""

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor):
        self._file, self._thread, self._hash, self._bytes = file, thread, hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> int:
        self._thread.submit(self._hash.update, data)
        size = self._file.write(data)
        self._bytes += size
        return size

    def file(self) -> File:
        """What was written, once the thread has ended."""
        return File(bytes=self._bytes, sha256=self._hash.hexdigest())


def _packed(values: np.ndarray, padding: np.ndarray, chunk: int) -> Iterator[bytes]:
    """The rows and what fills up the last chunk, chunk by chunk, as zarr's codec packs them."""
    codec = Zstd(level=layout.ZSTD_LEVEL)
    for first in range(0, len(values), chunk):
        rows = values[first : first + chunk]
        whole = rows if len(rows) == chunk else np.concatenate([rows, padding])
        yield codec.encode(np.ascontiguousarray(whole))
