"""What is computed of a shard that is not committed yet, kept now and then: a kill costs minutes, not a shard.

begun/<shard>.rows   the rows of every field as they lie in memory, one field behind the other, then their stamps
begun/<shard>.json   size and sha256 of these, whether stamps are there, a digest of the identity of the store that they
                     are for, the `facts` that whoever computes them goes on with, and the sha256 of all that it tells

No part of the store. It counts when the second file is there and agrees with the first, and goes when the shard is
committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.layout import BEGUN
from distillkit.store.format.manifest import file_digest
from distillkit.store.writing.stamps import KIND
from distillkit.system.atomic import atomic_file, remove_file, write_json
from distillkit.system.clearing import remove_empty
from distillkit.system.opening import numbers
from distillkit.system.record import sealed, unsealed

_KEYS = {"file", "stamps", "store", "facts"}


def keep(
    store: Path,
    shard: int,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    stamps: np.ndarray | None = None,
    whose: str | None = None,
) -> None:
    """In place of what was kept of this shard before. `whose`: a digest of the identity of the store that it is for,
    as another may lie there by now.
    """
    rows, record = _files(store, shard)
    with atomic_file(rows, within=store) as file:
        for values in (*arrays.values(), *(() if stamps is None else (stamps,))):
            file.write(np.ascontiguousarray(values).view(np.uint8).data)
    stamped = stamps is not None
    told = {"file": file_digest(rows).model_dump(), "stamps": stamped, "store": whose, "facts": dict(facts)}
    write_json(record, sealed(told), within=store)


def kept(
    store: Path, shard: int, fields: Mapping[str, Field], rows: int, whose: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray | None] | None:
    """The arrays of `rows` rows, the facts and the stamps; None where nothing was kept, or what was is damaged, or is
    of another store than `whose`.
    """
    path, record = _files(store, shard)
    try:
        said, _ = unsealed(record.read_bytes())  # that of an older version has no checksum
        if said.keys() - _KEYS or file_digest(path).model_dump() != said["file"]:
            return None
        if said.get("store") not in (None, whose):
            return None
        facts, stamped = dict(said["facts"]), bool(said.get("stamps"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    row_bytes = sum(field.row_bytes for field in fields.values()) + (KIND.itemsize if stamped else 0)
    if path.stat().st_size != rows * row_bytes:
        return None  # of other fields
    with path.open("rb") as file:
        arrays = {
            name: numbers(file, DTYPES[field.dtype], rows * int(np.prod(field.shape))).reshape(rows, *field.shape)
            for name, field in fields.items()
        }
        stamps = numbers(file, KIND, rows) if stamped else None
    return arrays, facts, stamps


def drop(store: Path, shard: int) -> None:
    """Forget it; its record goes first. The folder stays: another process may be about to use it."""
    rows, record = _files(store, shard)
    if rows.parent.is_dir():
        remove_file(record)
        remove_file(rows)


def end(store: Path) -> None:
    """Every shard is committed: the folder goes, with what a writer left there that was not told of a commit."""
    folder = store / BEGUN
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        remove_empty(folder)


def _files(store: Path, shard: int) -> tuple[Path, Path]:
    return store / BEGUN / f"{shard:05d}.rows", store / BEGUN / f"{shard:05d}.json"
