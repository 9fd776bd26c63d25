"""The classes that a classifier gives scores for: their names, and what a text tower says of their prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from distillkit.evals._classes import class_embeddings, prompted
from distillkit.evals._labels import labels_of, read_names
from distillkit.exports._described import Classes
from distillkit.parity.questions import Pictures, Questions, Tell, Told, open_store
from distillkit.parity.reference import Reference
from distillkit.recipe import TrainRecipe


def classes_store(recipe: TrainRecipe, named: str | None) -> str | None:
    """The store of class prompts: as named, else of the first eval that has one, else of training."""
    evals = (component.knobs.get("prompts") for component in recipe.evals)
    return named or next(filter(None, evals), None) or recipe.data.classes


def classes_of(recipe: TrainRecipe, place: str, tell: Tell | None) -> Classes:
    """`tell`: who speaks for texts; of None, as the teacher said of the store."""
    store = open_store(place, recipe)
    vectors = class_embeddings(store, Told(tell) if tell else None)
    return Classes(_names(store, len(vectors)), vectors)


def _names(store: Any, count: int) -> list[str]:
    """The name of each class: its line in the file behind the prompts, else its first prompt."""
    labels, classes = labels_of(store), prompted(store)
    number = classes.numbers(labels).tolist()
    made_of = store.manifest.source
    lines = read_names(made_of["knobs"]["file"]) if made_of["kind"] == "class_prompts" else None
    texts = store.index["text"].take(store.ok_rows[labels.places]).to_pylist()
    names: dict[int, str] = {}
    for place, label, text in zip(number, labels.ids.tolist(), texts, strict=True):
        names.setdefault(place, lines[label].strip() if lines is not None and label < len(lines) else text)
    return [names[place] for place in range(count)]


def of_classes(asked: Questions, place: str, recipe: TrainRecipe, count: int) -> Questions:
    """The same questions to a classifier: its answers are the classes themselves."""
    measure = asked.measure
    same = any(one.kind == "zero_shot" and one.knobs["prompts"] == place for one in recipe.evals)
    if measure is None or not same or measure.name != "top-{}":
        return replace(asked, measure=None)
    return replace(asked, measure=replace(measure, answers=lambda tell: torch.eye(count)))


class Scored(Reference):
    """A student whose answer to a picture is its cosine with every class."""

    def __init__(self, student: Any, classes: Classes):
        super().__init__(student)
        self._vectors = classes.vectors

    @property
    def tells(self) -> None:
        return None

    def images(self, pictures: Pictures | Any) -> Float[np.ndarray, "n c"]:
        said = F.normalize(torch.from_numpy(super().images(pictures)), dim=-1) @ self._vectors.T
        return np.asarray(said)
