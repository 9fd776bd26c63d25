"""The pixel path of those who ask for speed: libjpeg-turbo into a tensor, then torch's antialiased 8-bit resize.

More than twice as fast as Pillow, and not the same to the last bit: a teacher that looks through it says so in its
fingerprint. Boxes are rounded to whole pixels. What is no ordinary JPEG goes through `pixels.decode`.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2.functional import InterpolationMode, horizontal_flip, resized_crop

from distillkit import pixels, randaugment
from distillkit.errors import SourceError
from distillkit.types import View

_ORIENTATION = 0x0112  # of EXIF; 1 is upright
_MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def decode(image: bytes | Path) -> UInt8[Tensor, "3 h w"]:
    """As `pixels.decode`, with its limits and refusals, as a tensor."""
    try:
        raw = image if isinstance(image, bytes) else image.read_bytes()
    except OSError as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error
    if not _ordinary_jpeg(raw):
        return as_tensor(pixels.decode(raw))
    try:
        return decode_jpeg(torch.frombuffer(bytearray(raw), dtype=torch.uint8), ImageReadMode.RGB)
    except RuntimeError as error:
        raise SourceError(f"not a whole JPEG: {str(error).splitlines()[0]}") from error


def _ordinary_jpeg(raw: bytes) -> bool:
    """Whether an image is an upright JPEG in grey or colour, of a size that is no bomb: only its header is read."""
    try:
        with Image.open(io.BytesIO(raw), formats=("JPEG",)) as opened:
            pixels.refuse_bombs(*opened.size)
            return opened.mode in ("L", "RGB") and opened.getexif().get(_ORIENTATION, 1) == 1
    except pixels.DAMAGE:
        return False  # `pixels.decode` says what it is


def render(image: UInt8[Tensor, "3 h w"], view: View, size: int, interpolation: str) -> UInt8[Tensor, "3 s s"]:
    """As `pixels.render`, but for whole pixels and another rounding."""
    height, width = image.shape[-2:]
    left, top, right, bottom = view.box
    x, y = (min(round(share * side), side - 1) for share, side in ((left, width), (top, height)))
    wide, high = max(1, round(right * width) - x), max(1, round(bottom * height) - y)
    shown = resized_crop(image, y, x, high, wide, [size, size], _MODES[interpolation], antialias=True)
    if view.flip:
        shown = horizontal_flip(shown)
    if not view.ops:
        return shown
    picture = Image.fromarray(shown.permute(1, 2, 0).numpy())
    for operation, amount in view.ops:
        picture = randaugment.apply(picture, operation, amount)
    return as_tensor(picture)


def as_tensor(picture: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of an RGB image."""
    return torch.from_numpy(np.array(picture).transpose(2, 0, 1).copy())
