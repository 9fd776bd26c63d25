"""One description of a student that leaves: its towers as networks of the library they come from, and what goes in.

Every target reads this and nothing else, so that a new target is one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from distillkit.errors import DistillkitError

Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class Shown:
    """How a picture becomes what a tower sees: its short side to `size`, its middle, then (x / 255 - mean) / std."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"


@dataclass(frozen=True)
class ImageTower:
    """`network`: normalised pixels to raw embeddings. `openclip`: its configuration, where open_clip can build it;
    `timm`: name and arguments of the network, whose classifier is the projection, where timm can.
    """

    network: nn.Module
    width: int
    shown: Shown
    openclip: dict[str, Any] | None = None
    timm: tuple[str, dict[str, Any]] | None = None


@dataclass(frozen=True)
class TextTower:
    """`network`: rows of `context_length` tokens to raw embeddings. `whose`: its own, or the teacher's name.

    `tokenizer` is the file or name of another tokenizer than CLIP's, `options` what open_clip is told with it, as how
    texts are cleaned before. `tokenize` gives rows of any one length.
    """

    network: nn.Module
    width: int
    context_length: int
    whose: str
    tokenize: Callable[[list[str]], Int[Tensor, "t l"]]
    openclip: dict[str, Any] | None = None
    tokenizer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Classes:
    """Names of classes and a unit vector for each."""

    names: list[str]
    vectors: Float[Tensor, "c d"]


@dataclass(frozen=True)
class Described:
    """`scale` multiplies cosines, where texts were learned with one. `missing`: what was left, and why, in words.
    `beside`: gets the teacher's text tower, DistillkitError where it has none; None where that is no way.
    """

    name: str
    image: ImageTower | None
    text: TextTower | None
    scale: float | None = None
    quick_gelu: bool = False
    licence: str | None = None
    missing: tuple[str, ...] = ()
    classes: Classes | None = None
    beside: Callable[[], TextTower] | None = None

    def cannot_be_beside(self, holds: Callable[[Described], str | None]) -> str | None:
        """Why a target could not hold the student with the teacher's text tower either; None where it could, as far as
        anybody can tell. A cure that leads into the next refusal is none.
        """
        if self.beside is None:
            return None
        try:
            return holds(replace(self, text=self.beside(), beside=None))
        except DistillkitError as error:
            return f"{str(error).removeprefix('--text-tower teacher: ')}; export it to onnx"

    @property
    def towers(self) -> list[str]:
        return [name for name in ("image", "text") if getattr(self, name) is not None]


class Opened(Protocol):
    """An exported student, as the target's own program runs it."""

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        """Raw embeddings, by the target's own preprocessing."""
        ...

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        """Raw embeddings, by the target's own tokenizer."""
        ...
