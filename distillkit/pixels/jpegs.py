"""JPEGs that a GPU decodes, and the views of them that it renders without a way back to the CPU.

nvjpeg, through torchvision, differs from libjpeg by a few grey levels, so whoever uses it says so. It decodes whole,
upright JPEGs of three colours; of everything else it makes errors or, of what is cut off, grey areas: the CPU decodes
that, or says what is wrong with it.
https://docs.nvidia.com/cuda/nvjpeg/
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from distillkit.errors import SourceError, unreadable_by_now
from distillkit.pixels.cuts import Layout, piece_of
from distillkit.pixels.operations import applied
from distillkit.pixels.pillow import DAMAGE, MAX_PIXELS, refuse_bombs
from distillkit.pixels.tensors import content_of, decode_tensor
from distillkit.system.device import give_back, out_of_memory
from distillkit.types import View

_UPRIGHT, _ORIENTATION = 1, 0x0112
_END = b"\xff\xd9"  # of a JPEG that is whole
_OF_THE_GPU = (1, 5, 7)  # nvjpeg: not initialized, no memory, not for this GPU
_PIXELS = 1 << 26  # decoded at a time, 3 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class Jpeg:
    """Bytes that a GPU can decode, and the size of the image in them."""

    data: bytes
    width: int
    height: int


def opened(image: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> Jpeg | UInt8[Tensor, "3 h w"]:
    """A JPEG for the GPU, as it is; what the GPU cannot do, decoded. Raises SourceError for what is no image."""
    data = content_of(image)
    size = _size_for_the_gpu(data, max_pixels)
    return decode_tensor(data, max_pixels=max_pixels) if size is None else Jpeg(data, *size)


def _size_for_the_gpu(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:
            refuse_bombs(*header.size, max_pixels)
            upright = header.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
            plain = header.mode == "RGB" and header.info.get("adobe_transform", 1) == 1
            return header.size if plain and upright and data.endswith(_END) else None
    except DAMAGE:
        return None  # the CPU says what it is


def size_of(image: Jpeg | Tensor) -> tuple[int, int]:
    """Width and height."""
    return (image.width, image.height) if isinstance(image, Jpeg) else (image.shape[2], image.shape[1])


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image, opened, and the views of it that are wanted."""

    image: Jpeg | UInt8[Tensor, "3 h w"]
    views: tuple[View, ...]


def rendered(
    images: Sequence[Wanted], size: int, interpolation: str, device: torch.device
) -> Iterator[UInt8[Tensor, "v 3 s s"] | SourceError]:
    """The views of every image on the device, resized as `render_tensor` does it; of a damaged one, its error."""
    for group in _groups(images):
        found = _decoded([one.image for one in group], device)
        whole = [(image, view) for image, one in zip(found, group, strict=True) for view in one.views]
        views = iter(_views([(i, view) for i, view in whole if isinstance(i, Tensor)], size, interpolation))
        for image, one in zip(found, group, strict=True):
            yield torch.stack([next(views) for _ in one.views]) if isinstance(image, Tensor) else image


def _groups(images: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Images in order, as many at a time as have a bounded number of pixels."""
    first, pixels = 0, 0
    for number, one in enumerate(images):
        width, height = size_of(one.image)
        if number > first and pixels + width * height > _PIXELS:
            yield images[first:number]
            first, pixels = number, 0
        pixels += width * height
    if images:
        yield images[first:]


def _decoded(images: list[Jpeg | Tensor], device: torch.device) -> list[Tensor | SourceError]:
    """What the GPU refuses, the CPU tries; it has the last word on what is damaged.

    Where the GPU's memory does not suffice for all at once, it does one after the other; for one, that is an error.
    """
    data = [image.data for image in images if isinstance(image, Jpeg)]
    try:
        pixels: Iterator[Tensor | SourceError] = iter(decode_on(device, data))
    except RuntimeError as error:
        if out_of_memory(error):
            give_back()
        elif not _of_a_file(error):
            raise
        pixels = (_alone(one, device) for one in data)
    return [next(pixels) if isinstance(image, Jpeg) else image.to(device) for image in images]


def _alone(data: bytes, device: torch.device) -> Tensor | SourceError:
    try:
        return decode_on(device, [data])[0]
    except RuntimeError as error:
        if not _of_a_file(error):
            raise
    try:
        return decode_tensor(data).to(device)
    except SourceError as error:
        return error


def _of_a_file(error: RuntimeError) -> bool:
    """Whether an error can be about a file. Where the GPU or its memory fails, another decoder would give other bytes.

    torchvision tells nvjpeg's status as a number at the end.
    """
    told = str(error).partition("\n")[0]
    status = re.search(r": (\d+)\s*$", told)
    failed = isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error" in told or out_of_memory(error)
    return not failed and (status is None or int(status[1]) not in _OF_THE_GPU)


def decode_on(device: torch.device, data: list[bytes]) -> list[UInt8[Tensor, "3 h w"]]:
    """All of these JPEGs by nvjpeg, or RuntimeError."""
    tensors = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in data]
    return decode_jpeg(tensors, mode=ImageReadMode.RGB, device=device) if tensors else []


def _views(images: list[tuple[Tensor, View]], size: int, interpolation: str) -> Sequence[Tensor]:
    if not images:
        return []
    pieces = [(piece_of(image, view), view) for image, view in images]
    shapes = np.array([piece.shape[:2] for (piece, _, _), _ in pieces])
    sides = [(across, down, view.flip, False) for (_, across, down), view in pieces]
    flat = torch.cat([piece.reshape(-1, 3) for (piece, _, _), _ in pieces])
    shown = Layout(shapes, sides, size, interpolation, "torchvision").render(flat)
    operations = [view.ops for _, view in images]
    return list(applied(shown, operations) if any(operations) else shown)


def batch_of(
    images: list[tuple[str, Wanted]], size: int, interpolation: str, device: torch.device
) -> UInt8[Tensor, "b 3 s s"]:
    """A view of each of some images, on the device. SourceError, with its name, for one that is damaged."""
    shown: list[Tensor] = []
    views = rendered([one for _, one in images], size, interpolation, device)
    for (name, _), pixels in zip(images, views, strict=True):
        if isinstance(pixels, SourceError):
            raise unreadable_by_now(name, pixels)
        shown.append(pixels)
    return torch.cat(shown).contiguous(memory_format=torch.channels_last)


def no_gpu(device: torch.device) -> str | None:
    """Why this device cannot decode, if it cannot."""
    if device.type == "cuda":
        return None
    return f'"nvjpeg" decodes on an NVIDIA GPU, here is {device}; take "torchvision", or set device to a GPU'
