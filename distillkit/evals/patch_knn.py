"""Neighbours of patches: a patch is of the class that the k nearest labelled patches vote for. Nothing is trained.

    votes = sum over the k nearest j of  exp(cos(x, x_j) / temperature) y_j,   y_j: share of each class in patch j

Segmentation by retrieval, as Hummingbird asks dense features (Balazevic et al. 2023, https://arxiv.org/abs/2306.01667:
k 30, temperature 0.02); the votes are enlarged to the pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import EncodeTokens, OpenStore
from distillkit.evals._maps import Maps
from distillkit.evals._masks import files_of_masks
from distillkit.evals._segmented import ClassMasks, segmented
from distillkit.recipe.schema import Temperature
from distillkit.system.one_image import rows_of_images
from distillkit.system.progress import hearer, paced

_CELLS = 1 << 25  # cosines in memory at once
_IMAGES = 64  # at once


class PatchKnn:
    """`train`: a store of images whose patches vote; images that are in the measured store, too, are left out. `store`:
    the store of images that are measured. `masks`: the folder of the measured images' masks (_masks.py). `train_masks`:
    the folder of the masks of the images that vote; the same folder, if not given. `side`: at how many pixels a side
    masks are compared.

    `classes`: how many classes there are. `first_class`: the number in masks that is the first class. `ignore`: the
    numbers in masks that are no class; 255, if not given. `k`: how many of the nearest patches vote. `temperature`: a
    vote counts exp(cosine / temperature); the lower, the more the nearest count. `voters`: the most patches that vote,
    as many of each image. `seed`: decides which patches vote.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        masks: str,
        classes: int,
        train_masks: str | None = None,
        first_class: int = 0,
        ignore: list[int] | None = None,
        side: int = 224,
        k: int = 30,
        temperature: Temperature = 0.02,
        voters: int = 200_000,
        seed: int = 0,
        name: str | None = None,
    ):
        self.train, self.store, self.name = train, store, name or "patch_knn"
        self.masks, self.train_masks, self.side = masks, train_masks or masks, side
        self.classes, self.first_class, self.ignore = classes, first_class, [255] if ignore is None else ignore
        self.k, self.temperature, self.voters, self.seed = k, temperature, voters, seed
        if min(side, k, voters) < 1:
            raise RecipeError(f"evals.patch_knn: side, k and voters are {side}, {k} and {voters}: none may be below 1")

    def run(self, encode: EncodeTokens, open_store: OpenStore) -> list[Answers]:
        """mIoU over all pixels, IoU per image, and pixels that are right."""
        shown, asked = self.check(open_store)
        for masks in (shown, asked):
            masks.lie_as(encode)
        known, shares = self._voters(Maps(encode, open_store(self.train), shown, rows=shown.rows), shown)
        store = open_store(self.store)
        maps, keys = Maps(encode, store, asked), store.index["key"].take(rows_of_images(store)).to_pylist()

        def votes(places: np.ndarray) -> Float[Tensor, "b c g g"]:
            return self._votes(maps.of(places), known, shares)

        return [segmented(asked, shown, keys, _IMAGES, self.side, votes, maps.blank)]

    def check(self, open_store: OpenStore) -> tuple[ClassMasks, ClassMasks]:
        """The masks that vote and those that are asked; StoreError where one is missing."""
        knobs = (self.side, self.classes, self.first_class, self.ignore)
        store = open_store(self.store)
        shown = ClassMasks(open_store(self.train), self.train_masks, *knobs, but=store)
        return shown, ClassMasks(store, self.masks, *knobs)

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The pictures that answers hang on, by knob."""
        return files_of_masks(self, open_store)

    def _voters(self, maps: Maps, masks: ClassMasks) -> tuple[Float[Tensor, "v e"], Float[Tensor, "v c"]]:
        """Patches with a class, at length 1, and the share of each class in them; of a network that says nothing those
        of a few images.
        """
        random, vectors, shares = np.random.default_rng(self.seed), [], []
        images = random.permutation(masks.images)[: self.voters]
        each = max(self.voters // len(images), 1)
        for start in paced(f"{masks.root}: images whose patches vote", len(images), _IMAGES, hearer()):
            places = images[start : start + _IMAGES]
            seen, right = maps.of(places), torch.from_numpy(masks.of(places))
            of_class = F.one_hot(right + 1, self.classes + 1)[..., 1:].float().permute(0, 3, 1, 2)
            share = F.adaptive_avg_pool2d(of_class, seen.shape[-1]).flatten(2).transpose(1, 2)
            for patches, portions in zip(seen.flatten(2).transpose(1, 2), share, strict=True):
                labelled = np.flatnonzero(portions.sum(1).numpy() > 0)
                drawn = torch.from_numpy(random.permutation(labelled)[:each])
                vectors.append(patches[drawn.to(patches.device)])
                shares.append(portions[drawn])
            if maps.blank and any(len(one) for one in vectors):
                break
        found = torch.cat(vectors)
        if not len(found):
            raise StoreError("masks: no pixel of any image has a class to vote with; correct classes or ignore")
        return F.normalize(found, dim=1), torch.cat(shares).to(found.device)

    def _votes(
        self, maps: Float[Tensor, "b e g g"], known: Float[Tensor, "v e"], shares: Float[Tensor, "v c"]
    ) -> Float[Tensor, "b c g g"]:
        asked = F.normalize(maps.flatten(2).transpose(1, 2).flatten(0, 1), dim=1)
        parts = []
        for part in asked.split(max(_CELLS // len(known), 1)):
            near, place = (part @ known.T).topk(min(self.k, len(known)), dim=1)
            weight = ((near - near[:, :1]) / self.temperature).exp()
            votes = torch.zeros(len(part), self.classes, device=part.device)
            for nth in range(place.shape[1]):
                votes += weight[:, nth, None] * shares[place[:, nth]]
            parts.append(votes / votes.sum(1, keepdim=True).clamp(min=1e-12))
        return torch.cat(parts).unflatten(0, (len(maps), -1)).transpose(1, 2).unflatten(2, maps.shape[2:])
