"""Ranks of the right text for every image, and how sure a share of images is."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_RESAMPLES = 2000


def ranks_of(images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], label: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """How many texts are at least as near to image i as its own text, itself not counted: 0 is the best.

    Ties count against the image, so that a network that says the same of everything is not rewarded.
    """
    scores = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
    own = scores.gather(1, label[:, None])
    return (scores >= own).sum(dim=1) - 1


def interval(hit: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `hit`, over whole groups: images of one concept are not independent."""
    totals = np.bincount(group, weights=hit)
    counts = np.bincount(group)
    used = counts > 0
    totals, counts = totals[used], counts[used]
    draws = np.random.default_rng(0).integers(len(counts), size=(_RESAMPLES, len(counts)))
    means = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
