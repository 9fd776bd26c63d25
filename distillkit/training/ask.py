"""Who says what a teacher thinks of rows: the store that kept it, or, to see that this changes nothing, the teacher.

Batches ask through one function, `Ask`, so that training knows of no teacher: live.py makes another one of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from distillkit.store.reading.reader import FeatureStore

# A field of rows of a store, in one view of each.
Ask = Callable[[FeatureStore, str, np.ndarray, np.ndarray], Tensor]


def stored(
    store: FeatureStore, field: str, rows: Int64[np.ndarray, "n"], views: Int64[np.ndarray, "n"]
) -> Float[Tensor, "n ..."]:
    """What a store says of rows: of each the view with that number, where it has several."""
    return store.read(field, rows, view=views) if store.field(field).per_view else store.read(field, rows)
