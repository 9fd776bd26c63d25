"""The same pixels without Pillow in between: JPEGs decoded to tensors, and views of 8-bit tensors.

torchvision's JPEG decoder and PyTorch's antialiased resizing of 8-bit tensors are about twice as fast as Pillow on one
core. They say almost the same: boxes are rounded to whole pixels, as torchvision's RandomResizedCrop does.
https://docs.pytorch.org/vision/stable/generated/torchvision.io.decode_jpeg.html
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from distillkit.errors import SourceError
from distillkit.pixels import randaugment
from distillkit.pixels.pillow import DAMAGE, MAX_PIXELS, decode, refuse_bombs
from distillkit.pixels.room import taken
from distillkit.system.opening import blame_the_file
from distillkit.system.wording import one_line
from distillkit.types import View

# Deprecated in favour of a package that torchvision does not install; until then it is what everyone has.
warnings.filterwarnings("ignore", message="The image decoding and encoding capabilities of TorchVision")

_PLAIN = ("RGB", "L")  # JPEGs of other modes (CMYK) are Pillow's


def content_of(image: bytes | Path) -> bytes:
    """The bytes of an image, read if they are in a file. SourceError where the file cannot be read."""
    try:
        return image if isinstance(image, bytes) else image.read_bytes()
    except OSError as error:
        blame_the_file(error, image)
        raise SourceError(f"{type(error).__name__}: {error}") from error


def decode_tensor(image: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[Tensor, "3 h w"]:
    """The image as upright RGB. What is no plain JPEG is decoded by Pillow, with the same result as `pixels.decode`.

    Raises SourceError, in one line, for anything that is not a whole image.
    """
    data = content_of(image)
    size = _size_of_plain_jpeg(data, max_pixels)
    if size is None:
        return from_array(np.asarray(decode(data, max_pixels=max_pixels)))
    try:
        with taken(*size, "RGB"):
            return decode_jpeg(_as_tensor(data), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError as error:
        return _second_try(data, max_pixels, f"JPEG: {one_line(error)}")


def _second_try(data: bytes, max_pixels: int, refusal: str) -> UInt8[Tensor, "3 h w"]:
    """Both pixel paths decode the same files: what one refuses, the other is asked for."""
    try:
        return from_array(np.asarray(decode(data, max_pixels=max_pixels)))
    except SourceError as error:
        raise SourceError(refusal) from error


def _size_of_plain_jpeg(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """As its header claims; None of anything else. SourceError where that is too much."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
            refuse_bombs(*opened.size, max_pixels)
            return opened.size if opened.mode in _PLAIN else None
    except DAMAGE:
        return None  # Pillow's decoding says what it is


def _as_tensor(data: bytes) -> UInt8[Tensor, "n"]:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def from_array(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """Rows of RGB pixels as an image, without a copy."""
    writeable = pixels if pixels.flags.writeable else pixels.copy()
    return torch.from_numpy(writeable).permute(2, 0, 1)


def render_tensor(
    image: UInt8[Tensor, "3 h w"], view: View, size: int, interpolation: str = "bicubic"
) -> UInt8[np.ndarray, "3 s s"]:
    """The pixels of `view` at size x size: a pure function of its arguments, antialiased.

    A box that has the wanted size already is cut out and not resized. Operations of a view are Pillow's.
    """
    left, top, right, bottom = whole_box(view, image.shape[2], image.shape[1])
    shown = image[None, :, top:bottom, left:right]
    if shown.shape[2:] != (size, size):
        # A cut-out lies in no order that the kernel knows; as an image by itself it is resized half as fast again.
        shown = shown.contiguous(memory_format=torch.channels_last)
        shown = F.interpolate(shown, (size, size), mode=interpolation, antialias=True)
    pixels = (shown.flip(3) if view.flip else shown)[0].numpy()
    if not view.ops:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    for operation, amount in view.ops:
        picture = randaugment.apply(picture, operation, amount)
    return np.asarray(picture).transpose(2, 0, 1)


def whole_box(view: View, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a view's box, rounded to pixels."""
    (left, right), (top, bottom) = _whole(view.box[0], view.box[2], width), _whole(view.box[1], view.box[3], height)
    return left, top, right, bottom


def _whole(low: float, high: float, most: int) -> tuple[int, int]:
    """The nearest whole pixels of `most`, at least one of them."""
    first = min(round(low * most), most - 1)
    return first, max(round(high * most), first + 1)
