"""From a row of the plan to the pixels that each teacher looks at: read once, decoded once, seen in every view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distillkit.errors import SourceError
from distillkit.pixels import side_matter, views
from distillkit.pixels.jpegs import Jpeg, Wanted, size_of
from distillkit.recipe import Component, Views
from distillkit.system.spans import span
from distillkit.types import View


class Seen(NamedTuple):
    """One image: for each teacher uint8 [views, 3, h, w], and the parameters of its views, float32 [views, columns].

    What a GPU will decode is not pixels yet, but what is wanted of the image. `dropped`: what lies beside its pixels in
    the file was left out, because with it the image could not be decoded.
    """

    pixels: tuple[Tensor | Wanted, ...]
    parameters: np.ndarray | None
    dropped: bool = False


@dataclass(frozen=True)
class Sight:
    """What a decoding worker carries: the corpus and the teachers' ways of looking, none of their networks."""

    corpus: Component
    preprocess: Mapping[str, Any]
    views: Views | None = None

    @cached_property
    def source(self) -> Any:
        return self.corpus.build("sources")

    def __call__(self, key: str, location: str | None) -> Seen:
        """SourceError for an image that is absent or damaged."""
        if location is None:
            raise SourceError("the sample has no image, or one whose file name is not UTF-8")
        looks = self.preprocess.values()
        with span("read", 1):
            raw = self.source.read(location)
        side_matter.was_dropped()  # of the image before is no matter
        with span("decode", 1):
            images = {path: look.decode(raw) for path, look in {look.pixels: look for look in looks}.items()}
        dropped = side_matter.was_dropped()
        with span("resize", 1):
            return self._seen(key, images, dropped)

    def _seen(self, key: str, images: dict[str, Any], dropped: bool) -> Seen:
        looks = self.preprocess.values()
        if self.views is None:
            return Seen(tuple(_shown(look, images[look.pixels], [None]) for look in looks), None, dropped)
        width, height = _size(next(iter(images.values())))
        clean = next(iter(looks)).clean_view(width, height)
        planned = views.planned(self.views, key, width, height, clean)
        own = [None, *planned[1:]] if self.views.clean_first else list(planned)
        return Seen(
            tuple(_shown(look, images[look.pixels], own) for look in looks),
            views.packed(planned, self.views),
            dropped,
        )


def _shown(look: Any, image: Any, views: Sequence[View | None]) -> Tensor | Wanted:
    """The views of an image, in the eyes of one teacher; None is its own evaluation transform."""
    if look.pixels != "nvjpeg":
        return torch.stack([look(image, *([] if view is None else [view])) for view in views])
    clean = look.clean_view(*size_of(image))
    return Wanted(image, tuple(view or clean for view in views))


def _size(image: Image.Image | Tensor | Jpeg) -> tuple[int, int]:
    """Width and height."""
    return image.size if isinstance(image, Image.Image) else size_of(image)
