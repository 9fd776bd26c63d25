"""How a field lies on disk: a zarr v3 array whose shards are raw rows followed by the shard index.

Rows are little-endian and uncompressed, in inner chunks of 64 rows in linear order, so the data region of a shard is
one C-ordered block at offset 0: zarr reads it as a standard `sharding_indexed` array, and we map it as plain memory.
A compressed field has chunks of fewer rows where rows are large, one behind the other, and zarr alone reads it.
Format: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np

from distillkit.errors import StoreError
from distillkit.store.format.field import ABSENT, DTYPES, Field

BEGUN = "begun"  # the folder of shards in hand; see writing/begun.py
INNER_ROWS = 64
PAGE = 4096
ZSTD_LEVEL = 3
_COMPRESSED_CHUNK = 1 << 18  # bytes of rows: what one row of a compressed field takes to read
_MISSING = np.uint64(2**64 - 1)


def inner_rows(field: Field) -> int:
    """Rows of an inner chunk."""
    return packed_rows(field.row_bytes) if field.compression else INNER_ROWS


def packed_rows(row_bytes: int) -> int:
    """Rows of a compressed chunk: 64, or the largest power of two that is not too much to unpack for one row."""
    return min(INNER_ROWS, 1 << max(0, (_COMPRESSED_CHUNK // row_bytes).bit_length() - 1))


def step(field: Field) -> int:
    """The smallest shard of a field, in rows: whole inner chunks, and a data region of whole 4 KiB pages."""
    return math.lcm(INNER_ROWS, PAGE // math.gcd(PAGE, field.row_bytes))


def check_rows_per_shard(rows_per_shard: int, *fields: Field) -> None:
    """Refuse shards that are no multiple of the smallest; StoreError says which number would do for all of `fields`."""
    wrong = next((field for field in fields if rows_per_shard % step(field)), None)
    if wrong is not None:
        least = math.lcm(*map(step, fields))
        raise StoreError(
            f"rows_per_shard = {rows_per_shard} does not fit rows of {wrong.row_bytes} bytes; take a multiple of "
            f"{least}, such as {max(least, rows_per_shard // least * least)}"
        )


def array_metadata(rows: int, rows_per_shard: int, field: Field) -> dict[str, Any]:
    """The `zarr.json` of a field. Rows that were never written read as absent, not as a plausible zero vector."""
    shape, absent = field.shape, ABSENT[field.dtype]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    zstd = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
    sharding = {
        "chunk_shape": [inner_rows(field), *shape],
        "codecs": [little, zstd] if field.compression else [little],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *shape],
        "data_type": DTYPES[field.dtype].name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows_per_shard, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if absent != absent else absent,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {"dtype": field.dtype} if DTYPES[field.dtype].name != field.dtype else {},
    }


def steps_metadata(width: int) -> dict[str, Any]:
    """The `zarr.json` of what an int8 field's numbers mean: a row of centres and a row of scales."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [2, width],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, width]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [little],
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
        files[f"{name}/zarr.json"] = array_metadata(rows, rows_per_shard, field)
        if field.dtype == "int8":
            files[f"{name}.steps/zarr.json"] = steps_metadata(field.shape[-1])
    return files


def shard_path(name: str, shard: int, field: Field) -> str:
    """Where zarr's default key encoding puts shard number `shard` of the field of that name."""
    return f"{name}/c/{shard}{'/0' * len(field.shape)}"


def steps_path(name: str) -> str:
    """Where centres and scales of the int8 field of that name lie: float32 [2, d]."""
    return f"{name}.steps/c/0/0"


def index_path(shard: int) -> str:
    """Where keys, texts and labels of a shard's rows lie."""
    return f"index/{shard:05d}.arrow"


def failures_path(shard: int) -> str:
    """Where the failure ledger of a shard lies, if anything in it failed."""
    return f"failures/{shard:05d}.jsonl"


def stored_rows(rows: int, field: Field) -> int:
    """`rows` rounded up to whole inner chunks: what a shard really holds."""
    chunk = inner_rows(field)
    return -(-rows // chunk) * chunk


def shard_size(rows: int, rows_per_shard: int, field: Field) -> int:
    """The exact size in bytes of a shard file that holds `rows` rows, uncompressed."""
    return stored_rows(rows, field) * field.row_bytes + rows_per_shard // inner_rows(field) * 16 + 4


def shard_index(chunks: list[int], rows_per_shard: int, field: Field) -> bytes:
    """The shard index: (offset, length) of every inner chunk as uint64, then the crc32c of those bytes.

    `chunks`: the lengths of those that were written, one behind the other.
    """
    index = np.full((rows_per_shard // inner_rows(field), 2), _MISSING, dtype="<u8")
    index[: len(chunks), 0] = np.cumsum([0, *chunks[:-1]])
    index[: len(chunks), 1] = chunks
    raw = index.tobytes()
    return raw + google_crc32c.value(raw).to_bytes(4, "little")
