"""The frozen teacher in the loop, in place of its store: as slow as ever, to see that caching changes only speed.

[data]
source = "live"        # rows, keys and views are still the store's
[teacher]              # the one that made it, or it is refused
kind = "openclip"
model = "ViT-L-14/openai"
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.originals import Originals, moved
from distillkit.pixels.views import unpacked
from distillkit.recipe import TrainRecipe
from distillkit.store.format.field import PARAMETERS
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.teachers._said import fingerprint_of, said_of
from distillkit.types import View


class Live:
    """An `Ask` that computes: field, rows and views of a store, answered by the teacher of a recipe. Float32."""

    def __init__(self, recipe: TrainRecipe):
        assert recipe.teacher is not None  # the recipe's own check
        self.network: Any = recipe.teacher.build("teachers")
        self.fingerprint = fingerprint_of(self.network, recipe.teacher.kind)
        roots = moved(recipe.data)
        self._files = lru_cache(lambda store: Originals(store, roots.get(store.path.resolve())))

    def __call__(self, store: FeatureStore, field: str, rows: np.ndarray, views: np.ndarray) -> Tensor:
        told = other_teacher(store.teacher(field), self.fingerprint)
        if told:
            raise StoreError(
                f"{store.path}: the live teacher is not the one that made this store ({told}); set [teacher] to "
                "that one"
            )
        inputs = self._tokens(store, rows) if field == "text" else self._pixels(store, rows, views)
        said = self.network.forward(**inputs, fields=[field])
        return said_of(self.network, said, field, len(rows), f"teacher {self.fingerprint['model']}").float().cpu()

    def _tokens(self, store: FeatureStore, rows: np.ndarray) -> dict[str, Tensor]:
        tokens, lengths = self.network.tokenize(store.values("text", rows))
        return {"tokens": tokens[:, : int(lengths.max())]}

    def _pixels(self, store: FeatureStore, rows: np.ndarray, views: np.ndarray) -> dict[str, Tensor]:
        files, shown = self._files(store), []
        for row, view in zip(rows.tolist(), self._views(store, rows, views), strict=True):
            image, _, _ = files.open(row)
            shown.append(self.network.preprocess(image, view))
        return {"pixels": torch.stack(shown)}

    def _views(self, store: FeatureStore, rows: np.ndarray, views: np.ndarray) -> list[View | None]:
        """What the extraction looked at; None is the teacher's own evaluation transform."""
        if PARAMETERS not in store.fields:
            return [None] * len(rows)
        clean_first = store.manifest.views.get("clean_first", False)
        drawn = store.read(PARAMETERS, rows, view=views).numpy()
        return [
            None if clean_first and number == 0 else unpacked(row) for number, row in zip(views, drawn, strict=True)
        ]
