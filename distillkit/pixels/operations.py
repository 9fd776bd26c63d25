"""The operations of `randaugment` on many images at once, on any device, to the bytes that Pillow makes.

Colours are tables, or blends in float32 of what Pillow blends in float32; geometry is its affine transform in float64.
    https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Blend.c, Filter.c, Geometry.c
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillkit.pixels.randaugment import FILL
from distillkit.system.device import sent

Pixels = UInt8[Tensor, "n 3 h w"]
Amounts = Sequence[float]
Operations = tuple[tuple[str, float], ...]


def applied(pixels: Pixels, operations: Sequence[Operations]) -> Pixels:
    """The images after the operations of each, in its order; `randaugment.apply` is the same of one image."""
    shown = pixels.clone()
    for turn in range(max(map(len, operations))):
        groups: dict[str, dict[int, float]] = defaultdict(dict)
        for place, own in enumerate(operations):
            if turn < len(own):
                name, amount = own[turn]
                groups[name][place] = amount
        for name, asked in groups.items():
            places = sent(list(asked), torch.int64, pixels.device)
            shown[places] = _OPERATIONS[name](shown[places], list(asked.values()))
    return shown


# Tables.


def _looked_up(pixels: Pixels, table: Int[Tensor, "n 3 256"]) -> Pixels:
    return table.gather(2, pixels.flatten(2).long()).to(torch.uint8).view(pixels.shape)


def _auto_contrast(pixels: Pixels, amounts: Amounts) -> Pixels:
    values = pixels.flatten(2).double()
    low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    scale = torch.full_like(low, 255.0) / (high - low).clamp(min=1)
    levels = torch.arange(256, device=pixels.device, dtype=torch.float64)
    table = (levels * scale + -low * scale).long().clamp(0, 255)
    return _looked_up(pixels, torch.where(high > low, table, levels.long()))


def _equalize(pixels: Pixels, amounts: Amounts) -> Pixels:
    count, levels = len(pixels), torch.arange(256, device=pixels.device)
    planes = torch.arange(3 * count, device=pixels.device)[:, None] * 256
    found = (pixels.flatten(2).long().flatten(0, 1) + planes).flatten()
    # As bincount, after which a GPU would be waited for.
    histogram = found.new_zeros(3 * count * 256).scatter_add_(0, found, torch.ones_like(found)).view(count, 3, 256)
    last = (histogram > 0).long().mul(levels).amax(2, keepdim=True)
    step = (histogram.sum(2, keepdim=True) - histogram.gather(2, last)) // 255
    before = histogram.cumsum(2) - histogram + step // 2
    table = (before // step.clamp(min=1)).clamp(max=255)
    return _looked_up(pixels, torch.where(step > 0, table, levels))


# Blends.


def _column(amounts: Amounts, like: Tensor, dtype: torch.dtype) -> Tensor:
    return sent(amounts, dtype, like.device).view(-1, 1, 1, 1)


def _blended(other: Tensor, pixels: Pixels, amounts: Amounts) -> Pixels:
    """From `other` (a factor of 0) over the image (1) and beyond; each product is rounded before it is added."""
    start = other.float()
    step = (pixels.float() - start) * _column(amounts, pixels, torch.float32)
    return (start + step).clamp(0, 255).to(torch.uint8)


def _grey(pixels: Pixels) -> Int[Tensor, "n 1 h w"]:
    red, green, blue = pixels.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _color(pixels: Pixels, amounts: Amounts) -> Pixels:
    return _blended(_grey(pixels), pixels, amounts)


def _contrast(pixels: Pixels, amounts: Amounts) -> Pixels:
    grey = _grey(pixels).flatten(1)
    total = grey.sum(1).double()
    mean = (total / torch.full_like(total, grey.shape[1]) + 0.5).long()
    return _blended(mean.view(-1, 1, 1, 1), pixels, amounts)


def _brightness(pixels: Pixels, amounts: Amounts) -> Pixels:
    return _blended(torch.zeros_like(pixels), pixels, amounts)


def _sharpness(pixels: Pixels, amounts: Amounts) -> Pixels:
    """Blended with the mean of nine pixels, of which the middle weighs five times; borders stay."""
    smooth = pixels.int()
    if min(pixels.shape[2:]) > 2:
        # Sums of whole numbers below 2^24 are exact in float32.
        near = F.avg_pool2d(pixels.float(), 3, stride=1, divisor_override=1).int() + 4 * smooth[:, :, 1:-1, 1:-1]
        smooth[:, :, 1:-1, 1:-1] = (2 * near + 13) // 26
    return _blended(smooth, pixels, amounts)


# Geometry.


def _affine(pixels: Pixels, matrices: Sequence[Sequence[float]]) -> Pixels:
    """Each image seen through its matrix from output to input places, between pixels bilinear, beyond them FILL."""
    height, width = pixels.shape[2:]
    by = sent(matrices, torch.float64, pixels.device)[:, :, None, None].unbind(1)
    down, across = (torch.arange(side, dtype=torch.float64, device=pixels.device) + 0.5 for side in (height, width))
    x = by[0] * across + by[1] * down[:, None] + by[2]
    y = by[3] * across + by[4] * down[:, None] + by[5]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()
    right, bottom = ((first + 1).clamp(0, most - 1) for first, most in ((left, width), (top, height)))
    upper = _between(pixels, top.clamp(0, height - 1), left.clamp(0, width - 1), right, x - left)
    lower = _between(pixels, bottom, left.clamp(0, width - 1), right, x - left)
    shown = upper + (lower - upper) * (y - top)[:, None]
    fill = sent(FILL, torch.uint8, pixels.device).view(1, 3, 1, 1)
    return torch.where(inside[:, None], shown.clamp(0, 255).to(torch.uint8), fill)


def _between(pixels: Pixels, row: Tensor, left: Tensor, right: Tensor, share: Tensor) -> Float[Tensor, "n 3 h w"]:
    """Of a row of each output place, what lies so far between two columns."""
    flat, width = pixels.flatten(2), pixels.shape[3]

    def at(column: Tensor) -> Tensor:
        places = (row * width + column).long().flatten(1)[:, None].expand(-1, 3, -1)
        return flat.gather(2, places).view(pixels.shape).double()

    first = at(left)
    return first + (at(right) - first) * share[:, None]


def _rotate(pixels: Pixels, amounts: Amounts) -> Pixels:
    """As Pillow's Image.rotate finds its matrix; by nothing at all, the image stays."""
    middle, matrices = pixels.shape[3] / 2, []
    for amount in amounts:
        angle = -math.radians(amount % 360.0)
        a, b, d = (round(value, 15) for value in (math.cos(angle), math.sin(angle), -math.sin(angle)))
        matrices.append((a, b, a * -middle + b * -middle + middle, d, a, d * -middle + a * -middle + middle))
    return _affine(pixels, matrices)


_OPERATIONS: dict[str, Callable[[Pixels, Amounts], Pixels]] = {
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": lambda pixels, _: 255 - pixels,
    "rotate": _rotate,
    "posterize": lambda pixels, bits: pixels & _column([256 - (1 << 8 - int(n)) for n in bits], pixels, torch.uint8),
    "solarize": lambda pixels, n: torch.where(
        pixels.int() < _column([int(one) for one in n], pixels, torch.int32), pixels, 255 - pixels
    ),
    "solarize_add": lambda pixels, n: torch.where(
        pixels < 128, (pixels.int() + _column([int(one) for one in n], pixels, torch.int32)).clamp(max=255), pixels
    ).to(torch.uint8),
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": lambda pixels, by: _affine(pixels, [(1, one, 0, 0, 1, 0) for one in by]),
    "shear_y": lambda pixels, by: _affine(pixels, [(1, 0, 0, one, 1, 0) for one in by]),
    "translate_x": lambda pixels, by: _affine(pixels, [(1, 0, one * pixels.shape[3], 0, 1, 0) for one in by]),
    "translate_y": lambda pixels, by: _affine(pixels, [(1, 0, 0, 0, 1, one * pixels.shape[2]) for one in by]),
}
