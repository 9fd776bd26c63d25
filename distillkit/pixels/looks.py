"""What a teacher's evaluation transform shows of an image, as its fingerprint tells it: its patches lie over that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from distillkit.pixels.pillow import middle_view
from distillkit.types import View

Look = Callable[[int, int], View]  # of a width x height image
_WHOLE, _PADDED = "squash", ("border", "longest")


def look_of(teacher: dict[str, Any]) -> Look | None:
    """What a teacher's evaluation transform shows, by its fingerprint; None for the largest centred square, or if it is
    not told.
    """
    told = teacher.get("preprocess") or {}
    share = told.get("crop_pct")
    if _mode(told) == _WHOLE:
        return lambda width, height: View()
    if _mode(told) in _PADDED or not share or share == 1:
        return None
    size = told["input_size"][-2]
    short = math.floor(size / share)
    if "pixels" in told:  # a path that cuts boxes, as ours do
        return lambda width, height: middle_view(width, height, size / short)
    return lambda width, height: _cut_out(width, height, short, size)


def lies_over(teacher: dict[str, Any]) -> Look | None:
    """Where its patches lie: over what it looked at; beyond the image where borders were put around it."""
    if not pads(teacher):
        return look_of(teacher)
    told = teacher["preprocess"]
    share = told.get("crop_pct") or 1
    size = told["input_size"][-2] if share != 1 else 1
    of_longest = size / math.floor(size / share) / 2

    def square(width: int, height: int) -> View:
        across, down = (of_longest * max(width, height) / side for side in (width, height))
        return View((0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down))

    return square


def _cut_out(width: int, height: int, short: int, size: int) -> View:
    """The middle size x size pixels of an image whose short side was made `short`, as torchvision rounds them."""
    w, h = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return View((left / w, top / h, (left + size) / w, (top + size) / h))


def pads(teacher: dict[str, Any]) -> bool:
    """Whether it puts borders around images, which no view of them has."""
    return _mode(teacher.get("preprocess") or {}) in _PADDED


def _mode(preprocess: dict[str, Any]) -> str | None:
    """timm's word or open_clip's for what an image is made of before it is looked at."""
    return preprocess.get("crop_mode") or preprocess.get("resize_mode")
