"""From a row of the plan to the pixels that each teacher looks at: read once, decoded once, seen in every view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distillkit.errors import NotNow, SourceError
from distillkit.pixels import side_matter, views
from distillkit.pixels.jpegs import Jpeg, Wanted, size_of
from distillkit.pixels.room import room
from distillkit.recipe import Component, Views
from distillkit.store.writing.stamps import Stamp, read_stamped
from distillkit.system.spans import span
from distillkit.types import View


class Seen(NamedTuple):
    """One image: for each teacher uint8 [views, 3, h, w], and the parameters of its views, float32 [views, columns].

    What a GPU will decode is not pixels yet, but what is wanted of the image. `dropped`: what lies beside its pixels in
    the file was left out, because with it the image could not be decoded. `stamp`: what its file was, if it is one.
    """

    pixels: tuple[Tensor | Wanted, ...]
    parameters: np.ndarray | None
    dropped: bool = False
    stamp: Stamp | None = None


@dataclass(frozen=True)
class Sight:
    """What a decoding worker carries: the corpus and the teachers' ways of looking, none of their networks."""

    corpus: Component
    preprocess: Mapping[str, Any]
    views: Views | None = None
    max_pixels: int | None = None

    @cached_property
    def source(self) -> Any:
        """NotNow where it cannot be opened, as it could be when it was planned: no image is to blame for that."""
        try:
            return self.corpus.build("sources")
        except SourceError as error:
            told = str(error).partition(";")[0]
            raise NotNow(
                f"{told}; bring it back, and run the same command again: nothing that was committed is lost"
            ) from error

    def __call__(self, key: str, location: str | None) -> Seen:
        """SourceError for an image that is absent or damaged."""
        if location is None:
            raise SourceError("the sample has no image, or one whose file name is not UTF-8")
        with span("read", 1):
            raw, stamp = _read(self.source.read(location))
        side_matter.was_dropped()  # of the image before is no matter
        with room():
            with span("decode", 1):
                images = self._decoded(raw)
            dropped = side_matter.was_dropped()
            with span("resize", 1):
                return self._seen(key, images)._replace(dropped=dropped, stamp=stamp)

    def _decoded(self, raw: bytes | Path) -> dict[Any, Any]:
        """By the way in which teachers decode: once for all that do it alike."""
        limit = {} if self.max_pixels is None else {"max_pixels": self.max_pixels}
        return {way: look.decode(raw, **limit) for way, look in {_way(look): look for look in self.looks}.items()}

    @property
    def looks(self) -> list[Any]:
        """The teachers' ways of looking, in order."""
        return list(self.preprocess.values())

    def _seen(self, key: str, images: dict[str, Any]) -> Seen:
        if self.views is None:
            return Seen(tuple(_shown(look, images[_way(look)], [None]) for look in self.looks), None)
        width, height = _size(next(iter(images.values())))
        clean = self.looks[0].clean_view(width, height)
        planned = views.planned(self.views, key, width, height, clean)
        own = [None, *planned[1:]] if self.views.clean_first else list(planned)
        return Seen(
            tuple(_shown(look, images[_way(look)], own) for look in self.looks),
            views.packed(planned, self.views),
        )


def _read(image: bytes | Path) -> tuple[bytes | Path, Stamp | None]:
    """A file with what it is now; where it cannot be read, whoever decodes it says why."""
    found = read_stamped(image) if isinstance(image, Path) else None
    return found or (image, None)


def _way(look: Any) -> Any:
    """What decides how a teacher decodes: one that takes JPEGs at a reduced scale has a size of its own."""
    return (look.pixels, look.size, look.share) if getattr(look, "reduced", False) else look.pixels


def _shown(look: Any, image: Any, views: Sequence[View | None]) -> Tensor | Wanted:
    """The views of an image, in the eyes of one teacher; None is its own evaluation transform."""
    if look.pixels != "nvjpeg":
        return torch.stack([look(image, *([] if view is None else [view])) for view in views])
    clean = look.clean_view(*size_of(image))
    return Wanted(image, tuple(view or clean for view in views))


def _size(image: Image.Image | Tensor | Jpeg) -> tuple[int, int]:
    """Width and height."""
    return image.size if isinstance(image, Image.Image) else size_of(image)
