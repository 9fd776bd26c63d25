"""How many texts a step of training read: as many as the recipe says, or as its images have neighbours between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distillkit.errors import StoreError
from distillkit.recipe import Data
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore

_BATCHES = 16  # that are drawn to see how often images share a neighbour


def texts_a_step(data: Data, stores: Mapping[str, FeatureStore]) -> float | None:
    """`stores`: by the recipe's names. Of neighbours the mean over batches drawn by lot; None where they are gone, or
    others by now.
    """
    if data.sampling != "neighbours":
        return data.text_batch_size or data.batch_size
    try:
        near = Neighbours(stores["images"], data.neighbours, stores["texts"], data.neighbours_k)
        rows, random = near.store.ok_rows, np.random.default_rng(0)
        batches = (
            np.sort(random.choice(rows, min(data.batch_size, len(rows)), replace=False)) for _ in range(_BATCHES)
        )
        found = [np.unique(near.ids(batch)) for batch in batches]
    except (KeyError, StoreError):
        return None
    return float(np.mean([np.count_nonzero(texts >= 0) for texts in found]))
