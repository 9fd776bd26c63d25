"""Did the student see the images that it is measured on? Read from the stores, not believed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from distillkit.report.words import count
from distillkit.store.reading.reader import FeatureStore


def shared_images(measured: FeatureStore, trained: FeatureStore) -> tuple[int, int]:
    """How many usable rows of `measured` are image files of `trained`, and how many there are."""
    names = measured.index["image"].take(measured.ok_rows).to_pylist()
    if measured.root is None or trained.root is None:
        # Outside folders, only the same source has the same images.
        same = all(measured.manifest.source[what] == trained.manifest.source[what] for what in ("kind", "knobs"))
        below = [name for name in names if name is not None and same]
    else:
        paths = [measured.root / name for name in names if name is not None]
        below = [path.relative_to(trained.root).as_posix() for path in paths if path.is_relative_to(trained.root)]
    # The small side is hashed, the training index (perhaps millions of rows) is only streamed through.
    hit = pc.is_in(trained.index["image"], value_set=pa.array(sorted(set(below)), pa.string()))
    found = set(trained.index["image"].filter(hit).to_pylist())
    return sum(name in found for name in below), len(names)


def seen(measured: FeatureStore, trained: FeatureStore) -> str:
    """That, as the end of a sentence."""
    shared, images = shared_images(measured, trained)
    if shared == 0:
        return "on images it never saw"
    return (
        "on images it was trained on" if shared == images else f"on images of which it was trained on {count(shared)}"
    )
