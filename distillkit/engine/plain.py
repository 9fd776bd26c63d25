"""A teacher whose `preprocess` is a function of a Pillow image and no more, as a stranger's may well be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.pixels import decode
from distillkit.pixels.pillow import MAX_PIXELS


@dataclass(frozen=True)
class Plain:
    """Such a function can be shown the clean view only, and images are decoded by threads: it takes no view, and has no
    size that worker processes could set memory aside for.
    """

    function: Callable[[Image.Image], Tensor]
    pixels: ClassVar[str] = "pil"

    def decode(self, image: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """SourceError for what is no image."""
        return decode(image, max_pixels=max_pixels)

    def __call__(self, image: Image.Image) -> Tensor:
        return self.function(image)

    def refuse_views(self) -> None:
        raise TeacherError("views: this teacher's preprocess takes an image and no view; extract its clean view only")

    @property
    def size(self) -> tuple[int, int]:
        raise TeacherError('decode = "processes": this teacher\'s preprocess has no size; use decode = "threads"')
