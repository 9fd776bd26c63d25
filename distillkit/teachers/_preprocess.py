"""A teacher's way from an image to the pixels it looks at, without the teacher: small enough to travel to workers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor

from distillkit.errors import SourceError, TeacherError
from distillkit.pixels import INTERPOLATIONS, decode, render
from distillkit.pixels.jpegs import Jpeg, Wanted, no_gpu, opened, rendered
from distillkit.pixels.pillow import MAX_PIXELS, middle_view
from distillkit.pixels.tensors import decode_tensor, from_array, render_tensor
from distillkit.types import View

# What of an image an evaluation transform shows: its middle, all of it squeezed, or all of it with borders added.
Shows = Literal["centre", "whole", "padded"]
# "pil": bit for bit what the teacher's own library makes of a file. "torchvision": twice as fast, nearly the same.
# "nvjpeg": the same but for JPEGs, which the teacher's GPU decodes, with a few other grey levels.
PixelPath = Literal["pil", "torchvision", "nvjpeg"]
_FINER = 2  # times what is looked at: what a reduced JPEG is resized from


@dataclass(frozen=True)
class Preprocess:
    """Without a view: the teacher's own evaluation transform up to 8-bit pixels. With one: that view, at its size.

    `share`: how much of the short side the evaluation transform keeps. `reduced`: JPEGs are decoded at a part of their
    size, of twice the pixels that are looked at. `pixels`: by which path; torchvision's renders
    the clean view as any other. What follows, mean and deviation, is computed where the network is (`normalised`), on a
    quarter of the bytes.
    """

    steps: tuple[Any, ...]
    size: tuple[int, int]
    interpolation: str
    shows: Shows
    share: float = 1.0
    pixels: PixelPath = "pil"
    reduced: bool = False

    def __post_init__(self) -> None:
        if self.pixels != "pil":
            self.refuse_views()
            if self.reduced:
                raise TeacherError(f'teacher.reduced: only Pillow can; leave pixels = "{self.pixels}" out')

    @classmethod
    def of(cls, transform: Compose, **facts: Any) -> Preprocess:
        """The part of torchvision's `transform` that comes before numbers are floats."""
        return cls(tuple(step for step in transform.transforms if not isinstance(step, _LAST)), **facts)

    @property
    def told(self) -> dict[str, Any]:
        """What a fingerprint says of the pixel path: nothing of the teacher's own."""
        return ({} if self.pixels == "pil" else {"pixels": self.pixels}) | ({"reduced": True} if self.reduced else {})

    def refuse_cpu(self, device: torch.device) -> None:
        """TeacherError where JPEGs should be decoded by a GPU that the teacher is not on."""
        refusal = no_gpu(device) if self.pixels == "nvjpeg" else None
        if refusal:
            raise TeacherError(f"teacher.pixels: {refusal}")

    def decode(self, image: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image | Tensor | Jpeg:
        """An image as this pixel path wants it, a JPEG for a GPU as it is. SourceError for what is none."""
        if self.pixels == "nvjpeg":
            return opened(image, max_pixels=max_pixels)
        if self.pixels == "torchvision":
            return decode_tensor(image, max_pixels=max_pixels)
        least = math.ceil(_FINER * max(self.size) / self.share) if self.reduced else None
        return decode(image, max_pixels=max_pixels, reduced_to=least)

    def __call__(self, image: Image.Image | Tensor, view: View | None = None) -> UInt8[Tensor, "3 h w"]:
        """`image`: as `decode` gives it, or Pillow. Pixels lie as in images, the colours of each together."""
        if isinstance(image, Tensor) or self.pixels != "pil":
            whole = image if isinstance(image, Tensor) else from_array(np.asarray(image))
            view = view or self.clean_view(whole.shape[2], whole.shape[1])
            shown = render_tensor(whole, view, self.size[0], self.interpolation)
            return from_array(shown.transpose(1, 2, 0))
        if view is not None:
            return torch.from_numpy(render(image, view, self.size[0], self.interpolation))
        picture: Any = image
        for step in self.steps:
            picture = step(picture)
        return from_array(np.asarray(picture))

    def develop(
        self, images: Sequence[Wanted], device: torch.device
    ) -> Iterator[UInt8[Tensor, "v 3 h w"] | SourceError]:
        """The views of images that `decode` left to a GPU; of a damaged one, its error."""
        return rendered(images, self.size[0], self.interpolation, device)

    def clean_view(self, width: int, height: int) -> View:
        """What the evaluation transform shows of a width x height image, but for its rounding to whole pixels."""
        if self.shows == "whole":
            return View()
        return middle_view(width, height, self.share)

    def refuse_views(self) -> None:
        """TeacherError where boxes of an image cannot stand for what this teacher looks at."""
        if self.shows == "padded" or self.size[0] != self.size[1] or self.interpolation not in INTERPOLATIONS:
            raise TeacherError(
                f"views: this teacher looks at {self.size[0]} x {self.size[1]} pixels, {self.interpolation}, "
                f"{self.shows}; views are unpadded squares, {' or '.join(INTERPOLATIONS)}; extract its clean view only"
            )


_LAST = (ToTensor, Normalize)


def normalised(pixels: Tensor, mean: Any, std: Any, device: torch.device) -> Float[Tensor, "b 3 h w"]:
    """What torchvision's ToTensor and Normalize make of 8-bit pixels, bit for bit, computed on `device`.

    Floats are taken for normalised already.
    """
    if pixels.dtype != torch.uint8:
        return pixels.to(device, memory_format=torch.channels_last, non_blocking=True)
    shown = pixels.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last)
    # By rows of numbers as they lie: with three colours innermost, a CPU takes eight times as long.
    rows = shown.permute(0, 2, 3, 1).view(*shown.shape[::2], -1)
    for values, change in (((255.0,) * len(mean), rows.div_), (tuple(mean), rows.sub_), (tuple(std), rows.div_)):
        change(_on(device, values, shown.shape[3]))
    return shown


@cache
def _on(device: torch.device, values: tuple[float, ...], times: int) -> Float[Tensor, "n"]:
    """Numbers again and again, on the device, sent there once: a copy for each batch would wait for the one before.

    As tensors, because CUDA would multiply by the rounded reciprocal of a Python number.
    """
    return torch.tensor(values, device=device).repeat(times)
