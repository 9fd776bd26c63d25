"""Which rows of a store are meant: by key, by number, by label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.textfile import lines_of


def choose(path: Path, keys: Path | None, rows: str | None, labels: str | None) -> np.ndarray:
    """The rows that every given condition means: int64 [n]; all rows that have features where there is none.

    `keys`: a file with a key a line; `rows`: `first:stop` or `first:stop:step`; `labels`: numbers with commas between.
    StoreError for a key that the store has no features of, and for what does not read so.
    """
    store = FeatureStore(path)
    chosen = store.ok_rows
    if keys is not None:
        try:
            named = lines_of(keys.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{keys}: no list of keys, one a line ({error})") from error
        chosen = np.intersect1d(chosen, store.rows_of([key for key in named if key]))
    try:
        if rows is not None:
            numbers = [int(part) if part else None for part in rows.split(":")]
            if len(numbers) == 1:
                raise ValueError(f"{rows!r} is no range")
            chosen = np.intersect1d(chosen, np.arange(len(store))[slice(*numbers)])
        if labels is not None:
            wanted = pa.array([int(label) for label in labels.split(",")], pa.int64())
            meant = pc.fill_null(pc.is_in(store.index["label"], wanted), False).to_numpy()
            chosen = np.intersect1d(chosen, np.flatnonzero(meant))
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"write --rows as 0:1000 or 0:1000:2 and --labels as 3,7 ({error})") from error
    return chosen


def as_many(rows: np.ndarray, other: Path) -> np.ndarray:
    """As many of these rows as `other` has with features, drawn without regard to it; always the same ones."""
    count = len(FeatureStore(other).ok_rows)
    if count > len(rows):
        raise StoreError(
            f"{other}: has {count:,} rows, of {len(rows):,} there are not so many to draw; choose more rows"
        )
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
