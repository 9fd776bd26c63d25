"""Random views for training: a pure function of the random stream and the image's shape."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from distillkit.pixels import centre_view
from distillkit.types import View

_TRIES = 10


def sample_stream(seed: int, epoch: int, key: str) -> np.random.Generator:
    """The randomness of one sample in one epoch: the same for any order of samples and any number of workers."""
    return np.random.Generator(np.random.PCG64([seed, epoch, mark_of(key)]))


def mark_of(key: str) -> int:
    """A number that stands for a key, on every machine: its 64-bit hash."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())


def random_view(
    random: np.random.Generator,
    width: int,
    height: int,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    flip: float,
) -> View:
    """RandomResizedCrop (share of the area in `scale`, log-uniform aspect in `ratio`) and a flip with that probability.

    Szegedy et al. 2014, https://arxiv.org/abs/1409.4842; the centred square when ten draws do not fit.
    """
    flipped = bool(random.random() < flip)
    for _ in range(_TRIES):
        area = width * height * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = random.uniform(0, width - w) / width, random.uniform(0, height - h) / height
            return View((left, top, min(left + w / width, 1.0), min(top + h / height, 1.0)), flipped)
    return View(centre_view(width, height).box, flipped)


def fixed_crop(random: np.random.Generator, width: int, height: int, size: int, *, flip: float) -> View:
    """`size` x `size` pixels from anywhere in a width x height image, at least as large, and a flip with a probability.

    Whole pixels: cut out, not resized.
    """
    flipped = bool(random.random() < flip)
    left, top = (int(random.integers(most - size + 1)) for most in (width, height))
    return View((left / width, top / height, (left + size) / width, (top + size) / height), flipped)
