"""Pixels for a student on one core, against open_clip's own training transform from the same JPEGs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import image_transform
from PIL import Image

from distillkit.recipe import Augment, Data
from distillkit.training.batches import Batches
from distillkit.training.pixels import Pixels
from tests.bench.measure import Row, compare
from tests.bench.pictures import picture_store

FAST = {"resample": "torchvision", "scale": (0.9, 1.0)}


def run(folder: Path, quick: bool) -> list[Row]:
    """8-bit crops of 224 px (the network normalises them on its device) against its normalised floats."""
    count, size = (6, 32) if quick else (48, 224)
    store = picture_store(folder / "pixels", count)
    paths = sorted((folder / "pixels/pictures").iterdir())
    theirs_of = image_transform(size, is_train=True)
    rows = np.arange(count)

    def theirs() -> None:
        for path in paths:
            theirs_of(Image.open(path))

    def row(name: str, goal: float, cache: int | None, **augment: object) -> Row:
        data = Data(images=str(store.path), pixel_cache=cache, batch_size=2, workers=1, augment=Augment(**augment))
        pixels = Batches(data, 0, _Student(size)).rendering.pixels[0]
        epochs = iter(range(1_000_000))
        name = f"pixels on one core, {size} px, {name} / open_clip's transform"
        rounds, unit = (2, "images/s") if quick else (7, "images/s")
        ours = _of(pixels, rows, epochs)
        return compare(name, ours, theirs, goal=goal, amount=count, unit=unit, rounds=rounds)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cache = size + 32
        return [
            row("from JPEG, as it does", 1.0, None, scale=(0.9, 1.0), interpolation="bicubic"),
            row("from JPEG, decoded and resized by torchvision", 2.2, None, **FAST),
            row(f"from {cache} px raw squares, resized crops", 9.0, cache, **FAST),
            row(f"from {cache} px raw squares, cut out", 14.0, cache, crop="fixed", resample="torchvision"),
        ]
    finally:
        torch.set_num_threads(before)


class _Student:
    def __init__(self, image_size: int):
        self.image_size = image_size


def _of(pixels: Pixels, rows: np.ndarray, epochs: Iterator[int]):
    def make() -> None:
        pixels.made(pixels.images.shown(next(epochs), rows))

    return make
