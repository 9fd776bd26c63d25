"""How a field lies on disk: a zarr v3 array whose shards are raw rows followed by the shard index.

Rows are little-endian and uncompressed, in inner chunks of 64 rows in linear order, so the data region of a shard is
one C-ordered block at offset 0: zarr reads it as a standard `sharding_indexed` array, and we map it as plain memory.
Format: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np

from distillkit.errors import StoreError
from distillkit.store.manifest import Field

INNER_ROWS = 64
PAGE = 4096
_MISSING = np.uint64(2**64 - 1)

DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


def row_bytes(shape: list[int], dtype: str) -> int:
    """Bytes of one row of a field whose rows have `shape`."""
    return int(np.prod(shape, dtype=np.int64)) * DTYPES[dtype].itemsize


def check_rows_per_shard(rows_per_shard: int, shape: list[int], dtype: str) -> None:
    """Refuse shard sizes whose data region is not whole inner chunks and whole 4 KiB pages."""
    size = row_bytes(shape, dtype)
    step = int(np.lcm(INNER_ROWS, PAGE // np.gcd(PAGE, size)))
    if rows_per_shard % step:
        raise StoreError(
            f"rows_per_shard = {rows_per_shard} does not fit rows of {size} bytes; take a multiple of {step}, "
            f"such as {max(step, rows_per_shard // step * step)}"
        )


def array_metadata(rows: int, rows_per_shard: int, shape: list[int], dtype: str) -> dict[str, Any]:
    """The `zarr.json` of a field. Rows that were never written read as NaN, not as a plausible zero vector."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {
        "chunk_shape": [INNER_ROWS, *shape],
        "codecs": [little],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *shape],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows_per_shard, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
    }


def group_metadata() -> dict[str, Any]:
    """The `zarr.json` of a folder of arrays."""
    return {"zarr_format": 3, "node_type": "group", "attributes": {}}


def metadata_files(fields: Mapping[str, Field], rows: int, rows_per_shard: int) -> dict[str, dict[str, Any]]:
    """Every `zarr.json` of a store, by path: the store and each teacher's folder are groups, each field an array."""
    files = {"zarr.json": group_metadata()}
    for name, field in fields.items():
        files[f"{name.split('/')[0]}/zarr.json"] = group_metadata()
        files[f"{name}/zarr.json"] = array_metadata(rows, rows_per_shard, field.shape, field.dtype)
    return files


def shard_path(field: str, shard: int, shape: list[int]) -> str:
    """Where zarr's default key encoding puts shard number `shard` of a field."""
    return "/".join([field, "c", str(shard), *["0"] * len(shape)])


def index_path(shard: int) -> str:
    """Where keys, texts and labels of a shard's rows lie."""
    return f"index/{shard:05d}.arrow"


def failures_path(shard: int) -> str:
    """Where the failure ledger of a shard lies, if anything in it failed."""
    return f"failures/{shard:05d}.jsonl"


def stored_rows(rows: int) -> int:
    """`rows` rounded up to whole inner chunks: what a shard really holds."""
    return -(-rows // INNER_ROWS) * INNER_ROWS


def shard_size(rows: int, rows_per_shard: int, shape: list[int], dtype: str) -> int:
    """The exact size in bytes of a shard file that holds `rows` rows."""
    return stored_rows(rows) * row_bytes(shape, dtype) + rows_per_shard // INNER_ROWS * 16 + 4


def shard_index(rows: int, rows_per_shard: int, shape: list[int], dtype: str) -> bytes:
    """The shard index: (offset, length) of every inner chunk as uint64, then the crc32c of those bytes."""
    chunk_bytes = INNER_ROWS * row_bytes(shape, dtype)
    index = np.full((rows_per_shard // INNER_ROWS, 2), _MISSING, dtype="<u8")
    written = stored_rows(rows) // INNER_ROWS
    index[:written, 0] = np.arange(written, dtype=np.uint64) * np.uint64(chunk_bytes)
    index[:written, 1] = chunk_bytes
    raw = index.tobytes()
    return raw + google_crc32c.value(raw).to_bytes(4, "little")
