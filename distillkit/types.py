"""The values that flow between the rooms. Frozen; what is absent is None.

Axes, named once for the whole package:
b images in a batch, t texts in a batch, c classes, d joint width, e token width, p patches,
h height, w width, l tokens of a text, n rows of a store or a matrix, m rows of another matrix, k neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a corpus: an image, a text, or both. `key` is stable and unique in its corpus.

    `image` is a file below the source's root, or a location that the source's `read` makes bytes of. `label` is the
    number of its class as the corpus writes it: the plan reads it by `class_number`.
    """

    key: str
    image: Path | str | None = None
    text: str | None = None
    label: int | float | str | None = None


_DIGITS, _NO_CLASS = re.compile(r"([+-]?[0-9]+)(\.0*)?"), {"", "nan", "none", "null"}
_LARGEST = 2**63 - 1  # an index of a store has 64 bits for a label


def class_number(label: object) -> int | None:
    """A label as a whole number, None where it says that there is no class: None, NaN, an empty cell.

    Tables write whole numbers as 1.0 and as text. ValueError for what is no number of a class: 1.5, true, infinity,
    words, what 64 bits do not hold. Numbers below 0 stay as they are; by custom they mean "no class", too.
    """
    value = label.item() if hasattr(label, "item") else label  # numpy's and torch's numbers
    if isinstance(value, str):
        digits = _DIGITS.fullmatch(value.strip())
        if digits is None and value.strip().lower() not in _NO_CLASS:
            raise ValueError(f"{value!r:.40} is no number")
        value = int(digits[1]) if digits else None
    if isinstance(value, float):
        if isnan(value):
            return None
        if not value.is_integer():
            raise ValueError(f"{value} is no whole number")
        value = int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{value!r:.40} is no number")
    if value is not None and abs(value) > _LARGEST:
        raise ValueError(f"{label!s:.40} is beyond 64 bits")
    return value


@dataclass(frozen=True, slots=True)
class View:
    """How an image was looked at: `box` is left, top, right, bottom as fractions of width and height; then the mirror;
    then `ops`, each an operation of pixels/randaugment.py and its amount, on the pixels at their final size.
    """

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    ops: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Features:
    """What a network says. Embeddings are raw (not normalised); `scale` is the logit multiplier, after exp.

    `caption` is the text of each image where `text` holds class prompts. Of a student's second forward, `masked` are
    the patch tokens where the batch's mask hid some, `masked_image` is the embedding where some were dropped.
    `sparsity` is the share of a student's prunable parameters that its masks are expected to take away. Where `classes`
    are given, `logits` are log-probabilities of these classes alone, the k best, in falling order. `label` is the class
    that the corpus says each image is of, where it was asked for (`data.labels`).
    """

    image: Float[Tensor, "b d"] | None = None
    text: Float[Tensor, "t d"] | None = None
    caption: Float[Tensor, "b d"] | None = None
    cls: Float[Tensor, "b e"] | None = None
    patches: Float[Tensor, "b p e"] | None = None
    masked: Float[Tensor, "b p e"] | None = None
    masked_image: Float[Tensor, "b d"] | None = None
    logits: Float[Tensor, "b c"] | None = None
    classes: Int[Tensor, "b k"] | None = None
    label: Int[Tensor, "b"] | None = None
    scale: Float[Tensor, ""] | None = None
    sparsity: Float[Tensor, ""] | None = None

    def map(self, change: Callable[[Tensor | None], Tensor | None]) -> Features:
        """The same features, each after `change`."""
        return Features(**{name: change(getattr(self, name)) for name in Features.__dataclass_fields__})


def concatenated(parts: list[Features]) -> Features:
    """Features of several parts of a batch as one: rows in order, of the parts that have any; numbers without rows are
    those of the first.
    """

    def whole(name: str) -> Tensor | None:
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        if len(values) < 2 or values[0].ndim == 0:
            return values[0] if values else None
        return torch.cat(values)

    return Features(**{name: whole(name) for name in Features.__dataclass_fields__})


class Crops(Protocol):
    """What becomes the pixels of a batch, on the device that it is given."""

    def to(self, device: torch.device) -> UInt8[Tensor, "b 3 h w"]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch. `match[i]` is the text that describes image i; None when images and texts are unpaired.

    `crops` stand for `pixels` until the batch is where its student is. `own_share`: how much of each image is its own;
    the rest is its neighbour's (row 0 and 1, 2 and 3, ...), as mixup and CutMix make it.

    `mask` is true where a patch is hidden from the student. `others`: what more teachers said, by name.
    `step` counts the run's optimiser steps before this batch. `texts_shared`: of several processes, whether each has
    all texts of the batch, or its own; None where that is to be seen from what is said of them.
    """

    keys: tuple[str, ...] = ()
    pixels: UInt8[Tensor, "b 3 h w"] | None = None
    tokens: Int[Tensor, "t l"] | None = None
    match: Int[Tensor, "b"] | None = None
    mask: Bool[Tensor, "b p"] | None = None
    teacher: Features = field(default_factory=Features)
    others: Mapping[str, Features] = field(default_factory=dict)
    step: int = 0
    crops: Crops | None = None
    own_share: float = 1.0
    texts_shared: bool | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device; copies from pinned memory do not wait."""
        there = self if self.crops is None else replace(self, pixels=self.crops.to(device), crops=None)
        return there.map(lambda value: value.to(device, non_blocking=True))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch, each of its tensors after `change`."""

        def changed(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        return replace(
            self,
            pixels=changed(self.pixels),
            tokens=changed(self.tokens),
            match=changed(self.match),
            mask=changed(self.mask),
            teacher=self.teacher.map(changed),
            others={name: features.map(changed) for name, features in self.others.items()},
        )


@dataclass(frozen=True, slots=True)
class Widths:
    """Feature widths per field, as in {"image": 768, "patches": 1024}; one width for all would be a trap.

    `others`: of more teachers, by name.
    """

    student: Mapping[str, int]
    teacher: Mapping[str, int]
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
