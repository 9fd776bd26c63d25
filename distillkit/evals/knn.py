"""Nearest neighbours: an image is of the class that its k nearest labelled images vote for.

    votes_c = sum over the k nearest j of class c of  exp(cos(x, x_j) / temperature)

Weighted votes as DINO counts them, https://arxiv.org/abs/2104.14294 (k 20, temperature 0.07). Nothing is trained.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._by_name import by_name
from distillkit.evals._classes import Classes, classes_of
from distillkit.evals._classified import classified
from distillkit.evals._encode import Encode, OpenStore, blank, learning_device
from distillkit.evals._held import learned_from, with_examples
from distillkit.evals._labels import Labels, files_of_names, labels_of_images
from distillkit.evals._ranking import one_right, ranked_by
from distillkit.recipe.schema import Temperature
from distillkit.system.one_image import places_among

_CELLS = 1 << 25  # cosines in memory at once


class Knn:
    """`train`: a store of labelled images that vote. `store`: the store of labelled images that are measured; an image
    in both does not vote for itself. `k`: how many of the nearest images vote.

    `temperature`: a vote counts exp(cosine / temperature); the lower, the more the nearest images count.
    """

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

    def run(self, encode: Encode, open_store: OpenStore) -> list[Answers]:
        """Top-1 and mean per-class accuracy, with 95 % intervals and chance; margins are shares of the votes."""
        known, labels, classes = self.check(open_store)
        known, device = learned_from(known, encode), learning_device(encode)
        voters = F.normalize(encode(open_store(self.train))[known.places].float(), dim=-1).to(device)
        asked = F.normalize(encode(open_store(self.store))[labels.places].float(), dim=-1)
        voted, label = classes.numbers(known).to(device), classes.numbers(labels)
        itself = torch.from_numpy(self._itself(open_store, known, labels)).to(device)
        step = max(_CELLS // len(voters), 1)

        def votes(first: int, stop: int) -> Float[Tensor, "b c"]:
            parts = zip(asked[first:stop].to(device).split(step), itself[first:stop].split(step), strict=True)
            return torch.cat([self._vote(*part, voters, voted, len(classes)) for part in parts]).cpu()

        found = ranked_by(votes, len(asked), len(classes), one_right(label, len(classes)), blank(encode), True)
        return classified(open_store(self.store), labels, label, classes, found, top_5=False)

    def check(self, open_store: OpenStore) -> tuple[Labels, Labels, Classes]:
        """The images that vote, those that are asked, and the classes; StoreError for labels of no use."""
        known, labels = by_name(
            *(labels_of_images(open_store(name), self.classes) for name in (self.train, self.store))
        )
        itself = self._itself(open_store, known, labels)
        shared = int((itself >= 0).sum())
        if shared and len(known.places) == 1:
            raise StoreError(f"{known.path}: its one image cannot vote for itself; name a `train` with more images")
        asked = with_examples([known], replace(labels, shared=shared), itself)
        return known, asked, classes_of(known, labels)

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The file of class names, where one is given."""
        return files_of_names(self.classes)

    def _itself(self, open_store: OpenStore, known: Labels, labels: Labels) -> Int64[np.ndarray, "n"]:
        """For each image that is asked its place among those that vote, -1 where it is not there."""
        train, store = open_store(self.train), open_store(self.store)
        return places_among(store, store.ok_rows[labels.places], train, train.ok_rows[known.places])

    def _vote(
        self,
        asked: Float[Tensor, "m d"],
        itself: Int[Tensor, "m"],
        voters: Float[Tensor, "n d"],
        known: Int[Tensor, "n"],
        classes: int,
    ) -> Float[Tensor, "m c"]:
        """The share of the votes that each class gets."""
        cosine = asked @ voters.T
        mine = (itself >= 0).nonzero().squeeze(1)
        cosine[mine, itself[mine]] = -torch.inf
        near, place = cosine.topk(min(self.k, len(voters)), dim=1)
        weight = ((near - near[:, :1]) / self.temperature).exp()  # of the nearest 1, or low temperatures overflow
        votes = asked.new_zeros(len(asked), classes).scatter_add_(1, known[place], weight)
        return votes / votes.sum(1, keepdim=True)
