"""Who is measured: teacher, student or baseline, as an evaluation sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from torch import Tensor

OpenStore = Callable[[str], Any]


def stores_of(measure: Any) -> list[str]:
    """The names of the stores that an evaluation reads."""
    return [getattr(measure, name) for name in ("store", "prompts", "train", "gallery") if hasattr(measure, name)]


def taught(store: Any) -> Float[Tensor, "n d"]:
    """What the teacher said of the clean view of every usable row."""
    clean = 0 if store.field("image").per_view else None
    said: Tensor = store.read("image", store.ok_rows, view=clean)
    return said.float()


class Encode(Protocol):
    def __call__(self, store: Any) -> Float[Tensor, "n d"]:
        """The image of every usable row of a store, raw, in float32."""
        ...

    def texts(self, store: Any, rows: np.ndarray) -> Float[Tensor, "m d"]:
        """The texts of these rows: by its own text tower, or as the teacher said."""
        ...
