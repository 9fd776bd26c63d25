"""The data of a run: the batch of a step is a pure function of the recipe, the stores and the step's number.

So a run resumes at any step, with any number of workers, as if it had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from distillkit.augment import random_view, sample_stream
from distillkit.errors import TrainError
from distillkit.paths import expand
from distillkit.pixel_cache import Cached, Files
from distillkit.pixels import render
from distillkit.recipe import Data
from distillkit.store.reader import FeatureStore, refuse_other_teacher
from distillkit.types import Batch, Features

# Independent random streams of one seed.
_STREAMS = {"images": 0, "texts": 1}


class Batches:
    """Batches for a student of `image_size` pixels; texts are drawn independently of images, or are their captions."""

    def __init__(self, data: Data, seed: int, image_size: int):
        self.data, self.seed, self.image_size = data, seed, image_size
        self.images = FeatureStore(expand(data.images))
        self.texts = FeatureStore(expand(data.texts)) if data.texts else None
        if self.texts:
            refuse_other_teacher(self.images, "image", self.texts, "text")
        self.scale = torch.tensor(self.images.teacher("image")["logit_scale"])
        self.text_batch_size = data.text_batch_size or data.batch_size
        self.steps_per_epoch = _whole_batches(self.images, data.batch_size, "data.batch_size")
        self.text_steps = _whole_batches(self.texts, self.text_batch_size, "data.text_batch_size") if self.texts else 0
        files = Files(self.images, expand(data.root) if data.root else None)
        self.pixels = Cached(self.images, files, data.pixel_cache, 2 * data.workers) if data.pixel_cache else files
        self.captions = _caption_rows(self.images) if data.captions == "unique" else None
        self.order = lru_cache(maxsize=4)(self._order)
        self.wait_seconds = 0.0

    @property
    def stores(self) -> dict[str, FeatureStore]:
        """The stores that are read, by the recipe's name for them."""
        return {"images": self.images} | ({"texts": self.texts} if self.texts else {})

    @property
    def teacher_widths(self) -> dict[str, int]:
        """Width of each teacher feature that batches carry."""
        widths = {"image": self.images.field("image").shape[-1], "scale": 1}
        if self.texts or self.data.captions != "none":
            widths["text"] = (self.texts or self.images).field("text").shape[-1]
        return widths

    def stream(self, first: int, stop: int) -> Iterator[Batch]:
        """The batches of steps first .. stop-1, made ahead of time by worker threads; waiting is counted."""
        ahead = 2 * self.data.workers
        with ThreadPoolExecutor(self.data.workers) as pool:
            queue = [pool.submit(self.at, step) for step in range(first, min(first + ahead, stop))]
            for step in range(first, stop):
                started = time.perf_counter()
                batch = queue.pop(0).result()
                self.wait_seconds += time.perf_counter() - started
                if step + ahead < stop:
                    queue.append(pool.submit(self.at, step + ahead))
                yield batch

    def at(self, step: int) -> Batch:
        """The batch of one step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self.data.batch_size
        rows = self.order("images", epoch)[place * size : (place + 1) * size]
        keys = tuple(self.images.index["key"].take(rows).to_pylist())
        views = [self._view(int(row), key, epoch) for row, key in zip(rows, keys, strict=True)]
        pixels = torch.from_numpy(np.stack(views))
        text, match = self._texts(step, rows)
        teacher = Features(image=self.images.read("image", rows), text=text, scale=self.scale)
        return Batch(keys, pixels, match=match, teacher=teacher)

    def _view(self, row: int, key: str, epoch: int) -> np.ndarray:
        augment = self.data.augment
        image, width, height = self.pixels.open(row)
        random = sample_stream(self.seed, epoch, key)
        view = random_view(random, width, height, scale=augment.scale, ratio=augment.ratio, flip=augment.flip)
        return render(image, view, self.image_size, augment.interpolation)

    def _texts(self, step: int, rows: np.ndarray) -> tuple[Tensor | None, Tensor | None]:
        if self.texts:
            epoch, place = divmod(step, self.text_steps)
            size = self.text_batch_size
            return self.texts.read("text", self.order("texts", epoch)[place * size : (place + 1) * size]), None
        if self.data.captions == "paired":
            return self.images.read("text", rows), torch.arange(len(rows))
        if self.captions is not None:
            unique, match = np.unique(self.captions[rows], return_inverse=True)
            return self.images.read("text", unique), torch.from_numpy(match)
        return None, None

    def _order(self, corpus: str, epoch: int) -> np.ndarray:
        """Every usable row once, shuffled by (seed, corpus, epoch)."""
        store, stream = self.stores[corpus], _STREAMS[corpus]
        random = np.random.Generator(np.random.PCG64([self.seed, stream, epoch]))
        return random.permutation(store.ok_rows)


def _whole_batches(store: FeatureStore, size: int, knob: str) -> int:
    steps = len(store.ok_rows) // size
    if steps == 0:
        raise TrainError(f"{store.path}: {len(store.ok_rows)} rows make no batch of {size}; lower {knob}")
    return steps


def _caption_rows(store: FeatureStore) -> np.ndarray:
    """For every row, the first row with the same caption: int64 [n]."""
    captions = store.index["text"].combine_chunks().dictionary_encode()
    codes = captions.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    _, first = np.unique(codes, return_index=True)
    return first[codes]
