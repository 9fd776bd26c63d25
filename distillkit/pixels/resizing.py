"""Antialiased resizing of many crops at once, on any device, to the bytes that Pillow or PyTorch make of each alone.

Both resize 8-bit images in whole numbers, first along the rows, then along the columns: pixels times weights that were
rounded to so many binary places, summed, rounded to a byte. Sums of whole numbers are the same in any order, so a crop
does not depend on what else is in its batch, nor on the device.

    https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c
    https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/cpu/UpSampleKernel.cpp
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillkit.system.device import pinned

# How far a filter sees, in pixels of the larger of both grids.
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
# Pillow's weights have 22 binary places, those of PyTorch as many as keep them within 16 bits.
Rounding = Literal["pillow", "torchvision"]
_PILLOW_BITS, _MOST_BITS, _INT16 = 22, 22, 1 << 15
_VALUES = 1 << 24  # of an intermediate result, 4 bytes each; a large batch is resized in parts


def usual_size(side: int) -> int:
    """Pixels of a side to keep of an image for a student of `side`: 256 for 224."""
    return round(side * 8 / 7)


class Axis(NamedTuple):
    """One side of a box, in pixels of the image: where it begins and how long it is; the length of the image, and the
    first pixel of it that is at hand.
    """

    begin: float
    span: float
    length: int
    origin: int


class Axes(NamedTuple):
    """The same side of many boxes."""

    begin: Float[Tensor, "n"]
    span: Float[Tensor, "n"]
    length: Int[Tensor, "n"]
    origin: Int[Tensor, "n"]


class Weights(NamedTuple):
    """For each of `size` output pixels: the first input pixel at hand that it is made of, and the weights of the `k`
    from there on, which sum to 2^bits but for their rounding.
    """

    first: Int[Tensor, "n s"]
    weights: Int[Tensor, "n s k"]
    bits: Int[Tensor, "n"]


def weights(axes: Axes, size: int, interpolation: str, rounding: Rounding, taps: int) -> Weights:
    """In the order of operations of the two libraries, whose formulas are the same but for the rounding."""
    # Tensors divide and powers of two are whole numbers: CUDA multiplies by rounded reciprocals, and its powers round.
    scale = axes.span / torch.full_like(axes.span, size)
    stretch = scale.clamp(min=1.0)
    reach, inverse = (SUPPORT[interpolation] * stretch)[:, None], (1.0 / stretch)[:, None]
    places = torch.arange(size, device=scale.device, dtype=torch.float64) + 0.5
    centre = axes.begin[:, None] + places * scale[:, None]
    first = (centre - reach + 0.5).long().clamp(min=0)
    stop = torch.minimum((centre + reach + 0.5).long(), axes.length[:, None])
    found = torch.zeros(*first.shape, taps, dtype=torch.float64, device=scale.device)
    for tap in range(taps):
        distance = ((first + tap).double() - centre + 0.5) * inverse
        found[..., tap] = torch.where(first + tap < stop, _FILTERS[interpolation](distance.abs()), 0.0)
    total = found[..., 0].clone()
    for tap in range(1, taps):
        total += found[..., tap]
    found /= total[..., None]
    bits = _bits(found.amax((1, 2)), rounding)
    whole = found * (1 << bits).double()[:, None, None]
    return Weights(first - axes.origin[:, None], (whole + torch.where(whole < 0, -0.5, 0.5)).int(), bits)


def _bilinear(x: Tensor) -> Tensor:
    return torch.where(x < 1, 1 - x, 0.0)


def _bicubic(x: Tensor) -> Tensor:
    """Catmull and Rom's: a = -1/2."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


_FILTERS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": _bilinear, "bicubic": _bicubic}


def _bits(largest: Float[Tensor, "n"], rounding: Rounding) -> Int[Tensor, "n"]:
    """Binary places of the weights of each image."""
    bits = torch.full_like(largest, _PILLOW_BITS, dtype=torch.int64)
    if rounding == "torchvision":
        tried = torch.arange(1, _MOST_BITS + 1, device=largest.device)
        within = (0.5 + largest[:, None] * (1 << tried).double()).long() < _INT16
        bits = within.long().cumprod(1).sum(1)
    return bits


class Crops(NamedTuple):
    """`n` crops, row by row behind one another in `flat`; where each begins, how wide it is, the sides of its box."""

    flat: UInt8[Tensor, "pixels 3"]
    begins: Int[Tensor, "n"]
    widths: Int[Tensor, "n"]
    across: Axes
    down: Axes


def resized(
    crops: Crops, heights: np.ndarray, most: tuple[float, float], size: int, interpolation: str, rounding: Rounding
) -> UInt8[Tensor, "n s s 3"]:
    """All crops at size x size.

    `heights` of the crops and `most`, the longest box across and down, are known here without asking the device.
    """
    device, count = crops.flat.device, len(heights)
    wide, high = (
        weights(axes, size, interpolation, rounding, _taps(span, size, interpolation))
        for axes, span in zip((crops.across, crops.down), most, strict=True)
    )
    out = torch.empty(count, size, size, 3, dtype=torch.uint8, device=device)
    for part in _parts(heights, size):
        rows, owner, begins = _rows(crops, part, heights[part])
        narrow = _weighted(crops.flat, rows[:, None] + wide.first[owner], wide, owner).flatten(1)
        owner = torch.arange(part.start, part.stop, device=device)
        out[part] = _weighted(narrow, begins[:, None] + high.first[part], high, owner).view(-1, size, size, 3)
    return out


def _taps(span: float, size: int, interpolation: str) -> int:
    """Weights that an output pixel of the longest box can have."""
    return math.ceil(SUPPORT[interpolation] * max(span / size, 1.0)) * 2 + 1


def _parts(heights: np.ndarray, size: int) -> list[slice]:
    """Crops in order, as many at a time as make a bounded number of rows."""
    most, parts, first, rows = max(_VALUES // (3 * size), 1), [], 0, 0
    for number, height in enumerate(heights.tolist()):
        if number > first and rows + height > most:
            parts.append(slice(first, number))
            first, rows = number, 0
        rows += height
    return [*parts, slice(first, len(heights))]


def _rows(crops: Crops, part: slice, heights: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Of some crops: where each of their rows begins in memory, whose it is, and the first row of each."""
    device, ends = crops.flat.device, np.cumsum(heights)
    known = pinned(torch.from_numpy(np.stack([heights, ends - heights])), device).to(device, non_blocking=True)
    owner = torch.repeat_interleave(
        torch.arange(part.start, part.stop, device=device), known[0], output_size=int(ends[-1])
    )
    number = torch.arange(int(ends[-1]), device=device) - known[1][owner - part.start]
    return crops.begins[owner] + number * crops.widths[owner], owner, known[1]


def _weighted(
    values: UInt8[Tensor, "m c"], first: Int[Tensor, "r s"], by: Weights, owner: Int[Tensor, "r"]
) -> UInt8[Tensor, "r s c"]:
    """Sums of rows of `values` from `first` on, by the weights of each one's owner, rounded to bytes."""
    bits = by.bits[owner].int()[:, None, None]
    total = (1 << bits - 1).expand(*first.shape, values.shape[1]).contiguous()
    last = len(values) - 1
    for tap in range(by.weights.shape[2]):
        # What lies beyond a crop weighs nothing; beyond all of them, there is no memory to read.
        seen = values[(first + tap).clamp(max=last)]
        total += seen * by.weights[owner, :, tap, None]
    return (total >> bits).clamp(0, 255).to(torch.uint8)
