"""The values that flow between the rooms. Frozen; what is absent is None.

Axes, named once for the whole package:
b images in a batch, t texts in a batch, c classes, d joint width, e token width, p patches,
h height, w width, l tokens of a text, n rows of a store or a matrix, m rows of another matrix, k neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a corpus: an image, a text, or both. `key` is stable and unique in its corpus."""

    key: str
    image: bytes | Path | None = None
    text: str | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What part of an image was looked at: `box` is left, top, right, bottom as fractions of width and height."""

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False


@dataclass(frozen=True, slots=True)
class Features:
    """What a network says. Embeddings are raw (not normalised); `scale` is the logit multiplier, after exp."""

    image: Float[Tensor, "b d"] | None = None
    text: Float[Tensor, "t d"] | None = None
    cls: Float[Tensor, "b e"] | None = None
    patches: Float[Tensor, "b p e"] | None = None
    masked: Float[Tensor, "b p e"] | None = None
    scale: Float[Tensor, ""] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch. `match[i]` is the text that describes image i; None when images and texts are unpaired."""

    keys: tuple[str, ...] = ()
    pixels: UInt8[Tensor, "b 3 h w"] | None = None
    tokens: Int[Tensor, "t l"] | None = None
    match: Int[Tensor, "b"] | None = None
    mask: Bool[Tensor, "b p"] | None = None
    teacher: Features = field(default_factory=Features)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device; copies from pinned memory do not wait."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=True)

        teacher = Features(**{name: move(getattr(self.teacher, name)) for name in Features.__dataclass_fields__})
        return Batch(self.keys, move(self.pixels), move(self.tokens), move(self.match), move(self.mask), teacher)


@dataclass(frozen=True, slots=True)
class Widths:
    """Feature widths per field, as in {"image": 768, "patches": 1024}; one width for all would be a trap."""

    student: Mapping[str, int]
    teacher: Mapping[str, int]
