"""Did the student see the images that it is measured on? Read from the stores, not believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from distillkit.evaluation.unseen import hold_out, images_among, such_as
from distillkit.report.words import listing
from distillkit.store.reading.images import same_files
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count

NEVER = "on images it never saw"
_MOST = 2e11  # products: beyond that, looking for copies takes longer than a report may
_CELLS = 1 << 25  # cosines in memory at once
_COPY = ", and the teacher says the same of both files"
_SAME = 1 - 1e-5  # cosine: one picture in another batch differs by less, another picture by more


def same_features(
    measured: FeatureStore, trained: FeatureStore, there: Int64[np.ndarray, "m"]
) -> Bool[np.ndarray, "n"]:
    """Which usable rows of `measured` are to the teacher what one of these of `trained` is: copies under other names.

    None, where there are too many pairs to look through, or nothing that was said of both.
    """
    asked = measured.ok_rows
    for name, field in measured.own_fields.items():
        other = trained.own_fields.get(name)
        if other is None or name == "text" or other.view_shape != field.view_shape or len(field.view_shape) != 1:
            continue
        if field.view_shape[0] * len(asked) * len(there) > _MOST:
            break
        said, nearest = _unit(measured, name, asked), torch.zeros(len(asked))
        step = max(_CELLS // max(len(asked), 1), 1)
        for first in range(0, len(there), step):
            known = _unit(trained, name, there[first : first + step])
            nearest = torch.maximum(nearest, (said @ known.T).amax(1))
        found: Bool[np.ndarray, "n"] = (nearest > _SAME).numpy()
        return found
    return np.zeros(len(asked), bool)


def _unit(store: FeatureStore, name: str, rows: np.ndarray) -> Float[Tensor, "n d"]:
    return F.normalize(store.read(name, rows, view=0 if store.field(name).per_view else None).float(), dim=1)


def seen(
    measured: FeatureStore, *trained: FeatureStore, rows: Sequence[Int64[np.ndarray, "_"] | None] | None = None
) -> tuple[str, str]:
    """That, as the end of a sentence, and which images they are, where not all; `trained` are all of the student's
    image stores, `rows` the ones of each that it was trained on, None where nobody knows them any more. Without
    `rows`: those that the stores have.
    """
    rows = [one.ok_rows for one in trained] if rows is None else rows
    pairs = [(store, some) for store, some in zip(trained, rows, strict=True) if some is not None]
    files = _any([same_files(measured, *pair) for pair in pairs], measured)
    known = files if files.all() else files | _any([same_features(measured, *pair) for pair in pairs], measured)
    if known.all():
        return "on images it was trained on", ""
    lost = [str(store.path) for store, some in zip(trained, rows, strict=True) if some is None]
    if lost:
        verb = "has" if len(lost) == 1 else "have"
        return f"on images that it may have been trained on, as {listing(lost)} {verb} changed since", ""
    if not known.any():
        return NEVER, ""
    such, every, copies = (
        such_as(measured, known),
        images_among(measured, known),
        images_among(measured, known & ~files),
    )
    if copies == every:
        return f"on images of which {count(every, 'looks', 'look')} to the teacher like one in training", such + _COPY
    told = f" ({copies:,} of them as another file that looks the same to the teacher)" if copies else ""
    return f"on images of which it was trained on {every:,}{told}", such


def cure(
    measured: FeatureStore, *trained: FeatureStore, rows: Sequence[Int64[np.ndarray, "_"] | None] | None = None
) -> str:
    """How to hold out of training what `seen` found; empty where that was no file, or nobody knows."""
    rows = [one.ok_rows for one in trained] if rows is None else rows
    for store, some in zip(trained, rows, strict=True):
        known = None if some is None else same_files(measured, store, some)
        if known is not None and known.any():
            return hold_out(measured, store, known)
    return ""


def _any(found: list[Bool[np.ndarray, "_"]], measured: FeatureStore) -> Bool[np.ndarray, "_"]:
    return np.logical_or.reduce([np.zeros(len(measured.ok_rows), bool), *found])
