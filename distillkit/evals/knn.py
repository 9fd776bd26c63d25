"""Nearest neighbours: an image is of the class that its k nearest labelled images vote for.

    votes_c = sum over the k nearest j of class c of  exp(cos(x, x_j) / temperature)

Weighted votes as DINO counts them, https://arxiv.org/abs/2104.14294 (k 20, temperature 0.07). Nothing is trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.errors import RecipeError
from distillkit.evals._accuracy import accuracies
from distillkit.evals._classes import Classes, classes_of
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evals._labels import Labels, labels_of
from distillkit.recipe.schema import Temperature

_QUERIES = 1024  # at a time: with a million labelled images, 4 GB of scores


class Knn:
    """`train`: labelled images that vote. `store`: those that are asked. `classes`: see zero_shot."""

    def __init__(
        self,
        *,
        train: str,
        store: str,
        classes: str | None = None,
        k: int = 20,
        temperature: Temperature = 0.07,
        name: str | None = None,
    ):
        self.train, self.store, self.classes, self.name = train, store, classes, name or "knn"
        self.k, self.temperature = k, temperature
        if k < 1 or temperature <= 0:
            raise RecipeError(f"evals.knn: k = {k} and temperature = {temperature} must be above 0")

    def run(self, encode: Encode, open_store: OpenStore) -> dict[str, float]:
        """Top-1 (with its 95 % interval) and mean per-class accuracy, and chance."""
        known, labels, classes = self.check(open_store)
        voters = F.normalize(encode(open_store(self.train))[known.places].float(), dim=-1)
        asked = F.normalize(encode(open_store(self.store))[labels.places].float(), dim=-1)
        voted, label = classes.numbers(known), classes.numbers(labels)
        found = [self._vote(part, voters, voted, len(classes)) for part in asked.split(_QUERIES)]
        return accuracies(torch.cat(found) == label, label, len(classes)) | labels.noted

    def check(self, open_store: OpenStore) -> tuple[Labels, Labels, Classes]:
        """The images that vote, those that are asked, and the classes; StoreError for labels of no use."""
        known, labels = (labels_of(open_store(name), self.classes) for name in (self.train, self.store))
        return known, labels, classes_of(known, labels)

    def _vote(
        self, asked: Float[Tensor, "m d"], voters: Float[Tensor, "n d"], known: Int[Tensor, "n"], classes: int
    ) -> Int[Tensor, "m"]:
        near, place = (asked @ voters.T).topk(min(self.k, len(voters)), dim=1)
        votes = torch.zeros(len(asked), classes).scatter_add_(1, known[place], (near / self.temperature).exp())
        return votes.argmax(1)
