"""Ranks of the right text for every image, and how sure a share of images is."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

_RESAMPLES = 2000
_QUERIES = 1024  # at a time: with a million texts, 4 GB of scores
_DRAWN = 1 << 22  # groups at a time: with a million of them, four resamples


def ranks_of(
    images: Float[Tensor, "n d"],
    texts: Float[Tensor, "m d"],
    text: Int[Tensor, "p"],
    image: Int[Tensor, "p"] | None = None,
) -> Int[Tensor, "n"]:
    """How many texts come before the best of image i's own, itself not counted: 0 is the best.

    `text[j]` is an own text of image `image[j]`, which rises; without it, `text[i]` of image i. Ties are taken as
    arg-max takes them, the first text first, as open_clip and clip_benchmark do: a network that says the same of
    everything is right by chance. What is no number is nearest to nothing.
    """
    image = torch.arange(len(images)) if image is None else image
    texts = F.normalize(texts.float(), dim=-1)
    found = []
    for first in range(0, len(images), _QUERIES):
        scores = F.normalize(images[first : first + _QUERIES].float(), dim=-1) @ texts.T
        low, high = torch.searchsorted(image, torch.tensor([first, first + len(scores)])).tolist()
        found.append(_ranks(scores.nan_to_num(nan=-torch.inf), text[low:high], image[low:high] - first))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)


def _ranks(scores: Float[Tensor, "b m"], text: Int[Tensor, "p"], image: Int[Tensor, "p"]) -> Int[Tensor, "b"]:
    own = scores[image, text]
    best = torch.full((len(scores),), -torch.inf).scatter_reduce_(0, image, own, "amax")
    tied = own == best[image]
    first = torch.full((len(scores),), scores.shape[1]).scatter_reduce_(0, image[tied], text[tied], "amin")
    before = torch.arange(scores.shape[1]) < first[:, None]
    return ((scores > best[:, None]) | ((scores == best[:, None]) & before)).sum(dim=1)


def interval(hit: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `hit`, over whole groups: images of one concept are not independent."""
    totals = np.bincount(group, weights=hit)
    counts = np.bincount(group)
    used = counts > 0
    totals, counts = totals[used], counts[used]
    random, means = np.random.default_rng(0), np.empty(_RESAMPLES)
    step = max(_DRAWN // len(counts), 1)
    for first in range(0, _RESAMPLES, step):
        draws = random.integers(len(counts), size=(min(step, _RESAMPLES - first), len(counts)))
        means[first : first + step] = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
