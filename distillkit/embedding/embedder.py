"""Pictures and texts to vectors, whoever says them: what students and teachers have in common for those who use them.

student.embed_images(["a.jpg", picture])    # Tensor [2, d]; a path, or a picture of Pillow's
student.embed_texts(["a red bicycle"])      # Tensor [1, d], in the same space
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from distillkit.callable import Say
from distillkit.embedding.looking import Picture, seen
from distillkit.errors import DistillkitError, SourceError, TrainError
from distillkit.recipe import Component
from distillkit.system.numbers import refuse_less
from distillkit.system.progress import paced

_PICTURE = (str, PathLike, Image.Image)
_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class ImageTower:
    """A file is decoded, `look` makes the pixels of one picture, `embed` says a vector of each: raw, on the CPU."""

    decode: Callable[[bytes | Path], Any]
    look: Callable[[Any], UInt8[Tensor, "3 h w"]]
    embed: Callable[[UInt8[Tensor, "b 3 h w"]], Float[Tensor, "b d"]]


@dataclass(frozen=True)
class TextTower:
    """`embed` says a vector of each text: raw, on the CPU."""

    embed: Callable[[list[str]], Float[Tensor, "t d"]]


class Embedder(ABC):
    """`name` is what errors call it. Towers are built when they are first asked."""

    name: str

    @property
    @abstractmethod
    def image_tower(self) -> ImageTower:
        """TeacherError or TrainError where nobody is at hand to say something of pictures."""

    @property
    @abstractmethod
    def text_tower(self) -> TextTower:
        """The same of texts."""

    @abstractmethod
    def identity(self, field: str) -> str:
        """What the "image" or "text" vectors depend on, beside pictures and texts; known without loading weights."""

    @abstractmethod
    def as_teacher(self, field: str) -> Component:
        """Who says `field`, as the [teacher] of an extraction."""

    @abstractmethod
    def other_space(self, record: Mapping[str, Any]) -> str | None:
        """What keeps its vectors from being compared with those of a store of this teacher; None where nothing does."""

    @torch.no_grad()
    def embed_images(
        self,
        images: Picture | Iterable[Picture],
        *,
        normalise: bool = False,
        batch_size: int = 128,
        threads: int | None = None,
    ) -> Float[Tensor, "n d"]:
        """A row for each picture, in order, float32 on the CPU: raw, or of length 1. SourceError names a broken one.

        Files are decoded by `threads`, one a core where nothing is said.
        """
        refuse_less(1, batch_size=batch_size, threads=threads)
        pictures = [images] if isinstance(images, str | Path | Image.Image) else _all_of(images, "embed_images")
        for place, one in enumerate(pictures):
            _refuse_no(_PICTURE, one, f"embed_images: picture {place:,}", "a path, or a picture of Pillow's")
        if not pictures:
            raise SourceError("embed_images: no pictures; give paths, or pictures of Pillow's")
        parts = []
        for part in seen(self.image_tower, pictures, batch_size=batch_size, threads=threads):
            for place, told in part.broken.items():
                raise SourceError(_named(pictures[place], told))
            parts.append(part.vectors)
        return _scaled(self.usable(torch.cat(parts)), normalise)

    @torch.no_grad()
    def embed_texts(
        self,
        texts: str | Iterable[str],
        *,
        normalise: bool = False,
        batch_size: int = 128,
        say: Say | None = None,
    ) -> Float[Tensor, "n d"]:
        """A row for each text, in order, float32 on the CPU: raw, or of length 1. `say` hears how far it is."""
        refuse_less(1, batch_size=batch_size)
        texts = [texts] if isinstance(texts, str) else _all_of(texts, "embed_texts")
        for place, one in enumerate(texts):
            _refuse_no(str, one, f"embed_texts: text {place:,}", "a text")
        if not texts:
            raise DistillkitError("embed_texts: no texts")
        tower = self.text_tower
        parts = []
        for first in paced(f"{self.who_says('text')}: texts", len(texts), batch_size, say):
            parts.append(tower.embed(texts[first : first + batch_size]))
        return _scaled(self.usable(torch.cat(parts)), normalise)

    def who_says(self, field: str) -> str:
        """Who says the "image" or "text" vectors, by name: of a student without that tower its teacher does."""
        return self.name

    def usable(self, said: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The same; TrainError where some of it is no number."""
        if not torch.isfinite(said).all():
            raise TrainError(
                f"{self.name}: gives NaN or infinity; it has diverged, train it anew with a lower optim.lr"
            )
        return said


def _all_of(values: Iterable[Any], name: str) -> list[Any]:
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        raise DistillkitError(f"{name}: {values!r:.{_SHOWN}}: one of them, or a list, is needed")
    return list(values)


def _refuse_no(kind: Any, value: Any, where: str, needed: str) -> None:
    """DistillkitError for what comes of another list, as of a table with holes."""
    if not isinstance(value, kind):
        told = f"{value!r:.{_SHOWN}}".splitlines()[0]
        raise DistillkitError(f"{where} is {told} ({type(value).__name__}): {needed} is needed")


def _scaled(said: Float[Tensor, "n d"], normalise: bool) -> Float[Tensor, "n d"]:
    return torch.nn.functional.normalize(said) if normalise else said


def _named(picture: Picture, told: str) -> str:
    return told if isinstance(picture, Image.Image) else f"{picture}: {told}"
