"""Decoded images of a store as raw squares on disk: decode once, then crop from memory.

An image is squeezed to size x size whatever its aspect; a view's box is relative, so crops keep their true shape.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.atomic import atomic_folder, write_json
from distillkit.originals import Originals
from distillkit.pixels import render
from distillkit.store.reader import FeatureStore
from distillkit.types import View


class Cached:
    """The same images from the pixel cache beside the store, which is made on first use."""

    def __init__(self, store: FeatureStore, files: Originals, size: int, workers: int):
        self.from_array = files.resample.from_array
        folder = store.path.with_name(f"{store.path.name}.pixels-{size}")
        facts = {"store": store.digest, "size": size}
        if not folder.is_dir() or json.loads((folder / "cache.json").read_bytes()) != facts:
            _fill(folder, store, files, size, workers, facts)
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="c")  # tensors want it writeable
        self.shapes = np.load(folder / "shapes.npy", mmap_mode="r")

    def open(self, row: int) -> tuple[Any, int, int]:
        """An image as its square, and the width and height it had when it was whole."""
        width, height = self.shapes[row]
        return self.from_array(self.pixels[row]), int(width), int(height)


def _fill(
    folder: Path, store: FeatureStore, files: Originals, size: int, workers: int, facts: dict[str, object]
) -> None:
    plain = Originals(store, files.root)

    def squeeze(row: int) -> tuple[int, np.ndarray, tuple[int, int]]:
        image, width, height = plain.open(row)
        return row, render(image, View(), size).transpose(1, 2, 0), (width, height)

    # A cache of another store or size is no data of anyone's: it can be made again from the images at any time.
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_folder(folder) as partial, ThreadPoolExecutor(workers) as pool:
        shape = (len(store), size, size, 3)
        pixels = np.lib.format.open_memmap(partial / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
        shapes = np.lib.format.open_memmap(partial / "shapes.npy", mode="w+", dtype=np.int32, shape=(len(store), 2))
        for name in ("pixels.npy", "shapes.npy"):
            _take_room(partial / name)
        for row, square, (width, height) in pool.map(squeeze, store.ok_rows.tolist()):
            pixels[row], shapes[row] = square, (width, height)
        pixels.flush()
        shapes.flush()
        write_json(partial / "cache.json", facts)


def _take_room(path: Path) -> None:
    """OSError now where the disk is too small: written through a mapping, a full one would end the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
