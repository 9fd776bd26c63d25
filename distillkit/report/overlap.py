"""Did the student see the images that it is measured on? Read from the stores, not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool

from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count

_MOST_BYTES = 1 << 31  # of training's features: beyond that, looking for copies takes longer than a report may
_ROWS = 1 << 15  # at once


def same_files(measured: FeatureStore, trained: FeatureStore) -> Bool[np.ndarray, "n"]:
    """Which usable rows of `measured` are image files of `trained`."""
    names = measured.index["image"].take(measured.ok_rows).to_pylist()
    if measured.root is None or trained.root is None:
        # Outside folders, only the same source has the same images.
        same = all(measured.manifest.source[what] == trained.manifest.source[what] for what in ("kind", "knobs"))
        below = names if same else [None] * len(names)
    else:
        paths = [None if name is None else measured.root / name for name in names]
        below = [_below(path, trained.root) for path in paths]
    # The small side is hashed, the training index (perhaps millions of rows) is only streamed through.
    hit = pc.is_in(trained.index["image"], value_set=pa.array(sorted({*below} - {None}), pa.string()))
    found = set(trained.index["image"].filter(hit).to_pylist())
    return np.array([name is not None and name in found for name in below], bool)


def _below(path: Path | None, root: Path) -> str | None:
    return path.relative_to(root).as_posix() if path is not None and path.is_relative_to(root) else None


def same_features(measured: FeatureStore, trained: FeatureStore) -> Bool[np.ndarray, "n"]:
    """Which usable rows of `measured` the teacher said of, to the last bit, what it said of a row of `trained`: copies
    under other names. None, where there are too many to look through.
    """
    asked, there = measured.ok_rows, trained.ok_rows
    nothing = np.zeros(len(asked), bool)
    for name, field in measured.own_fields.items():
        other = trained.own_fields.get(name)
        if other is None or name == "text" or (other.view_shape, other.dtype) != (field.view_shape, field.dtype):
            continue
        if other.row_bytes // other.views * len(there) > _MOST_BYTES:
            return nothing
        said = _bytes(measured, name, asked)
        wanted, copies = {*said}, set[bytes]()
        for first in range(0, len(there), _ROWS):
            copies.update(wanted.intersection(_bytes(trained, name, there[first : first + _ROWS])))
        return np.array([one in copies for one in said], bool)
    return nothing


def _bytes(store: FeatureStore, name: str, rows: np.ndarray) -> list[bytes]:
    values = store.read(name, rows, view=0 if store.field(name).per_view else None, raw=True)
    if not len(rows):
        return []
    return [one.tobytes() for one in values.reshape(len(rows), -1).contiguous().view(torch.uint8).numpy()]


def seen(measured: FeatureStore, trained: FeatureStore) -> str:
    """That, as the end of a sentence."""
    files = same_files(measured, trained)
    known = files if files.all() else files | same_features(measured, trained)
    if not known.any():
        return "on images it never saw"
    if known.all():
        return "on images it was trained on"
    copies = int((known & ~files).sum())
    told = f" ({count(copies, 'copy', 'copies')} among them)" if copies else ""
    return f"on images of which it was trained on {int(known.sum()):,}{told}"
