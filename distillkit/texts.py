"""The three ways a batch gets its texts: from a corpus of their own, as the images' own captions, or as class prompts.

Each has `width`; `rows(turn)`, the text rows for the rows whose turn it is and which of them describes which image;
`read(rows)` and `texts(rows)`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distillkit.ask import Ask, stored
from distillkit.errors import RecipeError
from distillkit.evals._labels import class_embeddings, labels_of
from distillkit.store.reader import FeatureStore

Rows = tuple[np.ndarray, Tensor | None]


class Unpaired:
    """Sentences that describe no image of the batch (DIME-FM)."""

    def __init__(self, store: FeatureStore, ask: Ask = stored):
        self.store, self.ask, self.width = store, ask, store.field("text").shape[-1]

    def rows(self, turn: np.ndarray) -> Rows:
        return turn, None

    def read(self, rows: np.ndarray) -> Tensor:
        return self.ask(self.store, "text", rows, np.zeros(len(rows), np.int64))

    def texts(self, rows: np.ndarray) -> list[str]:
        return self.store.values("text", rows)


class OwnCaptions(Unpaired):
    """Every image's own caption. `merged`: equal captions of a batch are one text that describes several images."""

    def __init__(self, store: FeatureStore, ask: Ask = stored, *, merged: bool):
        super().__init__(store, ask)
        self.twin = _first_with_the_same_text(store) if merged else None

    def rows(self, turn: np.ndarray) -> Rows:
        if self.twin is None:
            return turn, torch.arange(len(turn))
        unique, match = np.unique(self.twin[turn], return_inverse=True)
        return unique, torch.from_numpy(match)


class ClassTexts:
    """One text per class, the mean of its prompts; an image's text is its class (OOD)."""

    def __init__(self, images: FeatureStore, prompts: FeatureStore, names: str | None):
        self.embeddings = class_embeddings(prompts)
        self.width = self.embeddings.shape[1]
        self.labels = torch.full((len(images),), -1)
        self.labels[torch.from_numpy(images.ok_rows)] = labels_of(images, names)
        if int(self.labels.max()) >= len(self.embeddings):
            raise RecipeError(f"data.classes: {prompts.path} has {len(self.embeddings)} classes, the images have more")

    def rows(self, turn: np.ndarray) -> Rows:
        return np.arange(len(self.embeddings)), self.labels[torch.from_numpy(turn)]

    def read(self, rows: np.ndarray) -> Tensor:
        return self.embeddings

    def texts(self, rows: np.ndarray) -> list[str]:
        raise RecipeError(
            "data.classes: class prompts serve image students; a student with a text tower needs captions"
        )


def _first_with_the_same_text(store: FeatureStore) -> np.ndarray:
    """For every row, the first row with the same caption: int64 [n]."""
    codes = store.index["text"].combine_chunks().dictionary_encode().indices
    numbers = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    _, first = np.unique(numbers, return_index=True)
    return first[numbers]
