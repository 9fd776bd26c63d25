"""Which images are learned from, and which of them are held out, to choose a knob by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import Encode, blank
from distillkit.evals._labels import Labels, codes_of
from distillkit.system.wording import count as counted

_FEW = 64


def learned_from(labels: Labels, encode: Encode) -> Labels:
    """All of these images; of a network that says nothing a few, spread over all of them."""
    if not blank(encode) or len(labels.places) <= _FEW:
        return labels
    kept = np.linspace(0, len(labels.places) - 1, _FEW).astype(np.int64)
    return labels.but(np.delete(labels.places, kept))


def held_out(
    sizes: Sequence[int], share: float, seed: int = 0, images: Int64[np.ndarray, "n"] | None = None
) -> tuple[Int[Tensor, "l"], Int[Tensor, "c"]]:
    """Places to learn from, and to choose by, of stores of these sizes put together: of two the second chooses, of one
    a `share` that is drawn. `images`: of one, a number for the image of each place; all of an image go together.
    """
    if len(sizes) == 2:
        return torch.arange(sizes[0]), torch.arange(sizes[0], sum(sizes))
    if images is None or len(np.unique(images)) == len(images):
        order = torch.randperm(sizes[0], generator=torch.Generator().manual_seed(seed))
        held = max(int(sizes[0] * share), 1)
        return order[held:], order[:held]
    number = torch.from_numpy(np.unique(images, return_inverse=True)[1])
    choosing = held_out([int(number.max()) + 1], share, seed)[1]
    chooses = torch.isin(number, choosing)
    return torch.nonzero(~chooses).ravel(), torch.nonzero(chooses).ravel()


def images_learned_from(store: Any, places: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """For `held_out`: a number for the image of each of these places among the usable rows; one without a place, and
    one of a store that knows no places, is an image of its own. StoreError where all are of one: none is left that
    chooses.
    """
    alone = np.arange(len(places), dtype=np.int64)
    if "image" not in store.index.column_names:
        return alone
    codes = codes_of(store.index["image"].take(store.ok_rows[places]))
    images: Int64[np.ndarray, "n"] = np.where(codes < 0, len(codes) + alone, codes)
    if len(images) > 1 and (images == images[0]).all():
        raise StoreError(
            f"{store.path}: all {counted(len(images), 'row')} to learn from are of one image, and another has to choose"
            "; name a store of more images"
        )
    return images
