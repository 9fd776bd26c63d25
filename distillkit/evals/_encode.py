"""Who is measured: teacher, student or baseline, as an evaluation sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.pixels.pillow import Header

OpenStore = Callable[[str], Any]
_STORES = ("store", "prompts", "train", "gallery", "validation_store")


def stores_of(measure: Any) -> list[str]:
    """The names of the stores that an evaluation reads."""
    named = [getattr(measure, name) for name in _STORES if getattr(measure, name, None) is not None]
    return list(dict.fromkeys([*named, *getattr(measure, "further", ())]))


def asks_texts(measure: Any) -> bool:
    """Whether an evaluation asks networks about texts, be they captions or prompts."""
    return bool(getattr(measure, "texts", False) or getattr(measure, "prompts", None))


def of_images(store: Any) -> str:
    """The field of what the teacher said of an image as a whole: its class token, where it gave nothing else."""
    return "cls" if "image" not in store.own_fields and "cls" in store.own_fields else "image"


def taught(store: Any) -> Float[Tensor, "n d"]:
    """What the teacher said of the clean view of every usable row."""
    name = of_images(store)
    said: Tensor = store.read(name, store.ok_rows, view=0 if store.field(name).per_view else None)
    return said.float()


def learning_device(encode: Any) -> torch.device:
    """Where probes on a network's features are trained: on its own device, or on the CPU where features are read."""
    found: torch.device = getattr(encode, "device", torch.device("cpu"))
    return found


def blank(encode: Any) -> bool:
    """Whether this is a stand-in for a network, whose features mean nothing (evaluation/encode.py): it shows before a
    run what an evaluation would refuse, and what its numbers are called. Neither depends on how much is learned or
    ranked, so for a stand-in that should be little.
    """
    return bool(getattr(encode, "blank", False))


class Tokens(NamedTuple):
    """What is said of the parts of an image: its patches, row by row, and the class token or what is pooled."""

    patches: Float[Tensor, "b p e"]
    cls: Float[Tensor, "b e"] | None


class Encode(Protocol):
    def __call__(self, store: Any) -> Float[Tensor, "n d"]:
        """The image of every usable row of a store, raw, in float32."""
        ...

    def texts(self, store: Any, rows: np.ndarray) -> Float[Tensor, "m d"]:
        """The texts of these rows: by its own text tower, or as the teacher said."""
        ...


class EncodeTokens(Encode, Protocol):
    """One that can be asked about parts of images, too."""

    device: torch.device

    def tokens(self, store: Any, rows: np.ndarray, *, cls: bool) -> Tokens:
        """Of the clean view of these rows' images; without `cls` that may be None."""
        ...

    def headers(self, store: Any, rows: np.ndarray) -> list[Header | None]:
        """What the files of these rows' images say of their size and of how a camera held it; None where there is no
        file, or none that can be read. Who knows no files need not have it.
        """
        ...
