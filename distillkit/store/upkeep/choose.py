"""Which rows of a store are meant: by key, number, label or class, by lot, and those that another view lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from distillkit.errors import StoreError
from distillkit.store.format.classes import classes_of
from distillkit.store.reading.images import of_images_of, share_images
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.system.textfile import lines_of
from distillkit.system.wording import as_word
from distillkit.system.wording import count as counted

_NAMED = 8  # classes, of many, that a refusal names


def choose(
    path: Path,
    keys: Path | None,
    rows: str | None,
    labels: str | None,
    *,
    share: float | None = None,
    seed: int = 0,
    other_than: Path | None = None,
) -> np.ndarray:
    """The rows that every given condition means: int64 [n]; all rows that have features where there is none.

    `keys`: a file with a key a line; `rows`: `first:stop` or `first:stop:step`; `labels`: numbers with commas between,
    ranges of them, written so, or names of the store's classes; `share`: of these about so many, drawn by key and
    `seed`, so that what is drawn stays drawn when the store grows, and all rows of one image together; `other_than`: a
    view or store whose keys and images are not meant. StoreError for a key that the store has no features of, for what
    reads otherwise, and where nothing is left.
    """
    store = FeatureStore(path)
    chosen = store.ok_rows
    left: dict[str, int] = {}  # how many, after each of the conditions
    if keys is not None:
        chosen = _with_keys(store, chosen, keys)
        left[f"--keys {keys}"] = len(chosen)
    if rows is not None:
        chosen = np.intersect1d(chosen, np.arange(len(store))[_range(rows)])
        left[f"--rows {rows}"] = len(chosen)
    if labels is not None:
        chosen = _with_labels(store, chosen, labels)
        left[f"--labels {labels}"] = len(chosen)
    if share is not None:
        chosen = _drawn(store, chosen, share, seed)
        left[f"--share {share:g}" + (f" --seed {seed}" if seed else "")] = len(chosen)
    if other_than is not None:
        chosen = _not_in(store, chosen, FeatureStore(other_than))
        left[f"--other-than {other_than}"] = len(chosen)
    if not len(chosen):
        raise StoreError(_none(path, len(store.ok_rows), left))
    return chosen


def _with_keys(store: FeatureStore, chosen: np.ndarray, keys: Path) -> np.ndarray:
    """Those of the chosen rows whose keys the file lists."""
    try:
        named = lines_of(keys.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{keys}: no list of keys, one a line ({error})") from error
    return np.intersect1d(chosen, store.rows_of([key for key in named if key]))


def _with_labels(store: FeatureStore, chosen: np.ndarray, labels: str) -> np.ndarray:
    """Those of the chosen rows that have one of the labels."""
    known = pc.is_valid(store.index["label"]).to_numpy()
    if len(store.ok_rows) and not known[store.ok_rows].any():
        raise StoreError(
            f"{store.path}: none of its {counted(len(store.ok_rows), 'row')} has a label, so --labels {labels} means "
            "none; choose by --keys, --rows or --share, or name a store that was extracted with labels"
        )
    numbers, classes = pc.fill_null(store.index["label"], 0).to_numpy(), classes_of(store.base.path)
    parts = [labels] if labels in classes else labels.split(",")  # a name may have a comma
    meant = known & np.any([_is_in(numbers, part, classes) for part in parts], axis=0)
    return np.intersect1d(chosen, np.flatnonzero(meant))


def _drawn(store: FeatureStore, chosen: np.ndarray, share: float, seed: int) -> np.ndarray:
    """About that share of the chosen rows."""
    if not 0 < share < 1:
        raise StoreError(f"--share {share:g} is no share; write one between 0 and 1, as 0.2")
    before = lots_of(store.path)
    drawn = [_lot(key, seed, before) < share for key in _drawn_by(store, chosen)]
    return chosen[np.array(drawn, bool)]


def _not_in(store: FeatureStore, chosen: np.ndarray, other: FeatureStore) -> np.ndarray:
    """Those of the chosen rows whose keys and images the other store lacks."""
    taken = set(other.values("key", other.ok_rows))
    others = np.array([key not in taken for key in store.values("key", chosen)], bool)
    return chosen[others & ~of_images_of(store, chosen, other.ok_rows, other)]


def lots_of(path: Path) -> int:
    """How many shares, one drawn of what another had left, the rows at `path` hang on: none in a store."""
    return Selection(path).lots if (path / VIEW).is_file() else 0


def _drawn_by(store: FeatureStore, rows: np.ndarray) -> list[str]:
    """What the lot of each row is drawn by: its key; its image's place, where that has several rows in the store.

    By the whole store, not row by row: a second caption of an image that comes later stays on its side.
    """
    keys = store.values("key", rows)
    if not share_images(store):
        return keys
    return [key if place is None else place for key, place in zip(keys, store.values("image", rows), strict=True)]


def _lot(key: str, seed: int, before: int) -> float:
    """In [0, 1), of a key the same on every machine. By how many lots were drawn `before`, it is one that they do not
    tell: a share of what another share left would else have none, or most, of the keys that are left.
    """
    lot = hashlib.blake2b(f"{seed} {key}".encode(), digest_size=6, salt=before.to_bytes(16, "little"))
    return int.from_bytes(lot.digest()) / 2**48


def _none(path: Path, rows: int, left: Mapping[str, int]) -> str:
    """That nothing is left, and by which condition: those behind it had nothing to choose from."""
    if not rows:
        return f"{path}: has no row with features; see why: distillkit store failures {as_word(path)}"
    empty = list(left.values()).index(0)
    asked = list(left)[: empty + 1]
    steps = [f"{condition} leaves {left[condition]:,}" for condition in asked[:-1]] + [f"{asked[-1]} leaves none"]
    flags = " or ".join(condition.partition(" ")[0] for condition in asked)
    other = " or --seed" if "--share" in asked[-1] else ""
    return (
        f"{path}: nothing is left of {counted(rows, 'row')} with features: {', '.join(steps)}; "
        f"choose another {flags}{other}"
    )


def _range(rows: str) -> slice:
    try:
        numbers = [int(part) if part else None for part in rows.split(":")]
        if len(numbers) == 1 or 0 in numbers[2:]:
            raise ValueError(rows)
        return slice(*numbers)
    except (ValueError, TypeError) as error:
        raise StoreError(f"write --rows as 0:1000 or 0:1000:2, not as {rows!r}") from error


def _is_in(labels: Int64[np.ndarray, "n"], part: str, classes: Mapping[str, int]) -> Bool[np.ndarray, "n"]:
    """Which labels `7` means, or `first:stop` or `first:stop:step`, which has to end, or the name of a class."""
    try:
        first, *rest = (int(number) for number in part.split(":"))
        meant = range(first, *rest) if rest else range(first, first + 1)
        if meant.step < 1:
            raise ValueError(part)
        return (labels >= meant.start) & (labels < meant.stop) & ((labels - meant.start) % meant.step == 0)
    except (ValueError, TypeError, OverflowError) as error:
        if part not in classes:
            raise StoreError(f"{part!r} is no label{_labels_there_are(part, classes)}") from error
        return labels == classes[part]


def _labels_there_are(part: str, classes: Mapping[str, int]) -> str:
    numbers = "write --labels as 3,7 or 0:9:2"
    if not classes:
        return f": {numbers}; this store has no names of classes"
    near = get_close_matches(part, classes, n=1)
    some = (
        f"did you mean {near[0]!r}?"
        if near
        else f"classes are: {', '.join(islice(classes, _NAMED))}" + (", ..." if len(classes) > _NAMED else "")
    )
    return f": {numbers}, or as names of classes; {some}"


def as_many(rows: np.ndarray, other: Path) -> np.ndarray:
    """As many of these rows as `other` has with features, drawn without regard to it; always the same ones."""
    count = len(FeatureStore(other).ok_rows)
    if not count:
        raise StoreError(f"{other}: has no row with features, so --as-many-as it leaves none; name another store")
    if count > len(rows):
        raise StoreError(
            f"{other}: has {counted(count, 'row')}, but only {len(rows):,} can be drawn from; choose more rows"
        )
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
