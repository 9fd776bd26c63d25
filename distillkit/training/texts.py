"""The ways a batch gets its texts: from a corpus of their own, as the images' own captions, or as class prompts.

Each has `width`; `rows(turn)`, the text rows for the rows whose turn it is and which of them describes which image;
`read(rows)` and `texts(rows)`; and `shared`: whether one of its texts may describe several images.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._class_order import as_prompted
from distillkit.evals._classes import class_embeddings, prompted
from distillkit.evals._labels import as_names, codes_of, labels_of
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count as counted
from distillkit.training.ask import Ask, stored

Rows = tuple[np.ndarray, Tensor | None]


class Unpaired:
    """Sentences that describe no image of the batch (DIME-FM)."""

    shared = False

    def __init__(self, store: FeatureStore, ask: Ask = stored):
        self.store, self.ask, self.width = store, ask, store.field("text").shape[-1]

    def rows(self, turn: np.ndarray) -> Rows:
        return turn, None

    def read(self, rows: np.ndarray) -> Tensor:
        return self.ask(self.store, "text", rows, np.zeros(len(rows), np.int64))

    def texts(self, rows: np.ndarray) -> list[str]:
        return self.store.values("text", rows)


class NearTexts(Unpaired):
    """The mined neighbours of the batch's images, each once: near texts, and those of the other images (OOD).

    The text that describes an image is its nearest.
    """

    shared = True

    def __init__(self, store: FeatureStore, neighbours: Neighbours, ask: Ask = stored):
        super().__init__(store, ask)
        self.neighbours = neighbours

    def rows(self, turn: np.ndarray) -> Rows:
        ids = self.neighbours.ids(turn)
        unique, places = np.unique(ids, return_inverse=True)
        places = places.reshape(ids.shape)
        if unique[0] == -1:  # what a view leaves out; each image keeps its nearest of the others
            unique, places = unique[1:], places - 1
        nearest = np.take_along_axis(places, (places >= 0).argmax(axis=1, keepdims=True), axis=1)[:, 0]
        if len(nearest) and nearest.min() < 0:
            key = self.neighbours.store.values("key", turn[nearest < 0][:1])[0]
            raise StoreError(f"{self.store.path}: no text of it is a neighbour of {key!r}; mine more, or select more")
        return unique, torch.from_numpy(nearest)


class OwnCaptions(Unpaired):
    """Every image's own caption. `merged`: equal captions of a batch are one text that describes several images."""

    def __init__(self, store: FeatureStore, ask: Ask = stored, *, merged: bool):
        super().__init__(store, ask)
        self.shared = merged
        self.twin = _first_with_the_same_text(store) if merged else None

    def rows(self, turn: np.ndarray) -> Rows:
        if self.twin is None:
            return turn, torch.arange(len(turn))
        unique, match = np.unique(self.twin[turn], return_inverse=True)
        return unique, torch.from_numpy(match)


class ClassTexts:
    """One text per class, the mean of its prompts; an image's text is its class (OOD).

    `names`: the file of class names that the images' captions are; else their labels count, from class `first` on.
    Images without a class have no turn (stores.py).
    """

    shared = True

    def __init__(self, images: FeatureStore, prompts: FeatureStore, names: str | None, first: int = 0):
        self.prompts = prompts
        self.embeddings = class_embeddings(prompts)
        self.width = self.embeddings.shape[1]
        self.labels = torch.full((len(images),), -1)
        labels, self.classes = as_prompted(labels_of(images, names, first), prompts), prompted(prompts)
        self.labels[torch.from_numpy(images.ok_rows[labels.places])] = self.classes.numbers(labels)
        self.note = self.classes.note

    def rows(self, turn: np.ndarray) -> Rows:
        return np.arange(len(self.embeddings)), self.labels[torch.from_numpy(turn)]

    def read(self, rows: np.ndarray) -> Tensor:
        return self.embeddings

    def texts(self, rows: np.ndarray) -> list[str]:
        """What a student with a text tower of its own reads."""
        return [self.words[row] for row in rows.tolist()]

    @cached_property
    def words(self) -> list[str]:
        """The one prompt of every class; RecipeError where a class has several."""
        labels = labels_of(self.prompts)
        if len(labels.ids) != len(self.classes.ids):
            raise RecipeError(
                f"data.classes: {self.prompts.path} has {counted(len(labels.ids), 'prompt')} of "
                f"{counted(len(self.classes.ids), 'class', 'classes')}; "
                'a student that reads them wants one each: extract them with one template, such as ["a photo of {}"]'
            )
        said = self.prompts.index["text"].take(self.prompts.ok_rows[labels.places]).to_pylist()
        # Of equal names the first is read, which differs from the others by its Unicode form at most.
        _, first = np.unique(self.classes.numbers(labels).numpy(), return_index=True)
        return [said[place] for place in first.tolist()]


def proximal(ids: np.ndarray, others: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many texts as `others`, near to the images of a batch: `ids` [images, k] are their neighbours, -1 for none.

    The images take turns, each drawing one of its neighbours that is not there yet; where these do not suffice, from
    `others`.
    """
    turns = random.permuted(ids, axis=1).T.ravel()
    drawn = _unique(turns[turns >= 0])[: len(others)]
    return np.concatenate([drawn, others[~np.isin(others, drawn)][: len(others) - len(drawn)]])


def _unique(values: np.ndarray) -> np.ndarray:
    """Each value once, where it comes first."""
    return values[np.sort(np.unique(values, return_index=True)[1])]


def _first_with_the_same_text(store: FeatureStore) -> np.ndarray:
    """For every row, the first row with the same caption, whatever its Unicode form: int64 [n]."""
    numbers = codes_of(as_names(store.index["text"]))  # -1 where there is none
    _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    return first[place]
