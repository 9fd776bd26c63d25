"""Which views of an image an extraction looks at, and how a store keeps them: a row of float32 numbers for each.

A view is drawn from (seed, key, its number, the image's shape) alone, and rendered from the float32 numbers that are
stored, so `pixels.render` of what was read back gives the same pixels bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from distillkit.pixels import randaugment
from distillkit.pixels.augment import random_view, sample_stream
from distillkit.recipe import Views
from distillkit.types import View

_BOX_AND_FLIP = ("left", "top", "right", "bottom", "flip")
_NO_OPERATION = -1


def columns(spec: Views) -> list[str]:
    """Names of the numbers of a stored view. An operation is its place in `randaugment.OPERATIONS`, -1 is none."""
    numbers = range(1, spec.operations + 1)
    return [*_BOX_AND_FLIP, *(f"{what}_{number}" for number in numbers for what in ("operation", "amount"))]


def facts(spec: Views) -> dict[str, Any]:
    """How the views of a store were drawn and what its numbers mean, for its manifest."""
    return spec.model_dump(mode="json") | {
        "kind": "view 0 is the teacher's own evaluation transform" if spec.clean_first else "every view is drawn",
        "columns": columns(spec),
        "operation_names": list(randaugment.OPERATIONS) if spec.randaugment else [],
    }


def planned(spec: Views, key: str, width: int, height: int, clean: View) -> tuple[View, ...]:
    """The views of one image, in the order of their numbers. `clean` is what the teacher's own transform shows."""
    drawn = (_drawn(spec, key, number, width, height) for number in range(int(spec.clean_first), spec.count))
    return (_rounded(clean), *drawn) if spec.clean_first else tuple(drawn)


def _drawn(spec: Views, key: str, number: int, width: int, height: int) -> View:
    random = sample_stream(spec.seed, number, key)
    view = random_view(random, width, height, scale=spec.scale, ratio=spec.ratio, flip=spec.flip)
    drawn = randaugment.draw(random, **spec.randaugment.model_dump()) if spec.randaugment else ()
    return _rounded(View(view.box, view.flip, drawn))


def _rounded(view: View) -> View:
    """The same view with its box in float32 numbers, which is what is stored and what is rendered."""
    left, top, right, bottom = (float(np.float32(side)) for side in view.box)
    return View((left, top, right, bottom), view.flip, view.ops)


def packed(views: tuple[View, ...], spec: Views) -> Float32[np.ndarray, "v columns"]:
    """Views as a store keeps them."""
    rows = np.full((len(views), len(columns(spec))), _NO_OPERATION, np.float32)
    for row, view in zip(rows, views, strict=True):
        row[: len(_BOX_AND_FLIP)] = (*view.box, view.flip)
        for number, (operation, amount) in enumerate(view.ops):
            at = len(_BOX_AND_FLIP) + 2 * number
            row[at : at + 2] = randaugment.OPERATIONS.index(operation), amount
    return rows


def unpacked(row: Float32[np.ndarray, "columns"]) -> View:
    """The view that a row of `views/parameters` stands for."""
    left, top, right, bottom, flip, *operations = (float(number) for number in row)
    pairs = zip(operations[::2], operations[1::2], strict=True)
    ops = tuple((randaugment.OPERATIONS[int(number)], amount) for number, amount in pairs if number != _NO_OPERATION)
    return View((left, top, right, bottom), bool(flip), ops)
