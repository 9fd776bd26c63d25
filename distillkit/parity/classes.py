"""The classes that a classifier gives scores for: their names, and what a text tower says of their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from distillkit.errors import StoreError
from distillkit.evals._called import names_made
from distillkit.evals._classes import class_embeddings, prompted
from distillkit.evals._labels import labels_of
from distillkit.exports._described import Classes
from distillkit.parity.questions import Pictures, Questions, Tell, Told, open_store
from distillkit.parity.reference import Reference
from distillkit.recipe import TrainRecipe
from distillkit.store.format.sameness import other_teacher


def classes_store(recipe: TrainRecipe, named: str | None) -> str | None:
    """The store of class prompts: as named, else of the first eval that has one, else of training."""
    evals = (component.knobs.get("prompts") for component in recipe.evals)
    return named or next(filter(None, evals), None) or recipe.data.classes


def classes_of(recipe: TrainRecipe, place: str, tell: Tell | None, teacher: Mapping[str, Any]) -> Classes:
    """`tell`: who speaks for texts; of None, as the `teacher` of the run said of the store. StoreError where the store
    is another's: its vectors may be as wide, and mean nothing to the student.
    """
    store = open_store(place, recipe)
    told = None if tell else other_teacher(store.teacher("text"), teacher)
    if told:
        raise StoreError(
            f"{store.path}: made by another teacher than the student learned from ({told}); name class prompts of that "
            "one, or extract these with it"
        )
    vectors = class_embeddings(store, Told(tell) if tell else None)
    return Classes(_names(store, len(vectors)), vectors)


def _names(store: Any, count: int) -> list[str]:
    """The name of each class: what its prompts have in common where they were made of names, else its first prompt."""
    labels = labels_of(store)
    texts = store.index["text"].take(store.ok_rows[labels.places]).to_pylist()
    made = names_made(store, labels.places)
    names: dict[int, str] = {}
    for place, text, name in zip(prompted(store).numbers(labels).tolist(), texts, made or texts, strict=True):
        first = names.setdefault(place, name)
        if made is not None and (name is None or first != name):
            raise StoreError(
                f"{store.path}: {text!r:.80} is not what its templates make of a class name; put the file of templates "
                "back as it was, or extract the prompts again"
            )
    return [names[place].strip() for place in range(count)]


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
