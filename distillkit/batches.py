"""The data of a run: the batch of a step is a pure function of the recipe, the stores and the step's number.

So a run resumes at any step, with any number of workers, as if it had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.augment import random_view, sample_stream
from distillkit.errors import RecipeError, TrainError
from distillkit.paths import expand
from distillkit.pixel_cache import Cached, Files
from distillkit.pixels import render
from distillkit.recipe import Data
from distillkit.store.reader import FeatureStore, refuse_other_teacher
from distillkit.texts import ClassTexts, OwnCaptions, Unpaired
from distillkit.types import Batch, Features

# Independent random streams of one seed.
_STREAMS = {"images": 0, "texts": 1, "masks": 2}
# Teacher features that lie in rows of the image store, as fields of `Features`.
_IMAGE_FIELDS = ("image", "cls", "patches", "logits", "classes")


class Batches:
    """Batches for one student. `needs`, such as {"teacher.image"}, limits what is read from the stores."""

    def __init__(self, data: Data, seed: int, student: Any):
        self.data, self.seed = data, seed
        self.image_size: int | None = student.image_size
        self.tokenize = getattr(student, "tokenize", None)
        self.patches = int(getattr(student, "patches", 0) or 0)
        self.images = _open(data.images, data.teacher) if data.images else None
        self.texts = _open(data.texts, data.teacher) if data.texts else None
        self.classes = _open(data.classes, data.teacher) if data.classes else None
        for other in (self.texts, self.classes):
            if self.images and other:
                refuse_other_teacher(self.images, "image", other, "text")
        self.text_batch_size = data.text_batch_size or data.batch_size
        self.order = lru_cache(maxsize=4)(self._order)
        self.said = self._text_source()
        whole = [self._whole_batches(corpus) for corpus in ("images", "texts") if corpus in self.stores]
        self.steps_per_epoch = data.repeats * whole[0]
        self.needs = {f"teacher.{name}" for name in self.teacher_widths}
        self.wait_seconds = 0.0

    @property
    def stores(self) -> dict[str, FeatureStore]:
        """The stores that are read, by the recipe's name for them."""
        named = {"images": self.images, "texts": self.texts, "classes": self.classes}
        return {name: store for name, store in named.items() if store}

    @cached_property
    def first(self) -> FeatureStore:
        """The store whose rows make an epoch."""
        return next(iter(self.stores.values()))

    @cached_property
    def teacher(self) -> dict[str, Any]:
        """The fingerprint of the teacher that is learned from."""
        teachers = self.first.teachers
        alias = self.data.teacher or next(iter(teachers))
        if alias not in teachers:
            raise RecipeError(f"data.teacher: {self.first.path} knows no {alias!r}; it has: {', '.join(teachers)}")
        return teachers[alias]

    @cached_property
    def teacher_widths(self) -> dict[str, int]:
        """Width of each teacher feature that batches can carry."""
        widths: dict[str, int] = {}
        if self.images:
            said = self.images.own_fields
            widths |= {name: said[name].shape[-1] for name in _IMAGE_FIELDS if name in said}
            if "classes" in said:  # only the best are kept of each row; how many there are, the teacher told
                widths["logits"] = self.images.teacher("classes")["classes"]
        if self.said:
            widths["text"] = self.said.width
        if self.classes and self.data.captions != "none" and self.images:
            widths["caption"] = self.images.field("text").shape[-1]
        return widths | ({"scale": 1} if self._scale is not None else {})

    def narrow(self, needs: Iterable[str]) -> None:
        """Read only what some loss needs: patch tokens are half a megabyte an image."""
        self.needs = set(needs)

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
        if not self.images:
            rows, text, tokens, _ = self._say(step, np.empty(0, np.int64))
            keys = tuple(self.first.index["key"].take(rows).to_pylist())
            return Batch(keys, tokens=tokens, teacher=Features(text=text, scale=self._scale), step=step)
        epoch, rows = self._turn("images", step, self.data.batch_size)
        keys = tuple(self.images.index["key"].take(rows).to_pylist())
        _, text, tokens, match = self._say(step, rows)
        teacher = Features(
            **{name: self.images.read(name, rows) for name in self._image_fields},
            text=text,
            caption=self.images.read("text", rows) if "teacher.caption" in self.needs else None,
            scale=self._scale,
        )
        pixels = self._pixels(rows, keys, epoch) if self.image_size else None
        return Batch(keys, pixels, tokens, match, self._mask(step, len(rows)), teacher, step)

    @property
    def _image_fields(self) -> list[str]:
        """What is read of the image store: what is needed, and beside the best logits the classes they belong to."""
        needed = self.needs | ({"teacher.classes"} if "teacher.logits" in self.needs else set())
        return [name for name in _IMAGE_FIELDS if f"teacher.{name}" in needed and name in self.teacher_widths]

    def _turn(self, corpus: str, step: int, size: int) -> tuple[int, np.ndarray]:
        """The pass over a corpus that a step belongs to, and its rows in that pass."""
        epoch, place = divmod(step, self._whole_batches(corpus))
        return epoch, self.order(corpus, epoch)[place * size : (place + 1) * size]

    def _say(self, step: int, rows: np.ndarray) -> tuple[np.ndarray, Tensor | None, Tensor | None, Tensor | None]:
        """Rows, teacher features and tokens of the texts of a step, and which of them describes which image."""
        if self.said is None:
            return rows, None, None, None
        turn = self._turn("texts", step, self.text_batch_size)[1] if self.texts else rows
        text_rows, match = self.said.rows(turn)
        text = self.said.read(text_rows) if "teacher.text" in self.needs else None
        tokens = self.tokenize(self.said.texts(text_rows)) if self.tokenize else None
        return text_rows, text, tokens, match

    def _pixels(self, rows: np.ndarray, keys: tuple[str, ...], epoch: int) -> Tensor:
        views = [self._view(int(row), key, epoch) for row, key in zip(rows, keys, strict=True)]
        return torch.from_numpy(np.stack(views))

    def _view(self, row: int, key: str, epoch: int) -> np.ndarray:
        augment = self.data.augment
        image, width, height = self._opened.open(row)
        random = sample_stream(self.seed, epoch, key)
        view = random_view(random, width, height, scale=augment.scale, ratio=augment.ratio, flip=augment.flip)
        return render(image, view, self.image_size or 0, augment.interpolation)

    @cached_property
    def _opened(self) -> Cached | Files:
        if self.images is None:
            raise RecipeError("data.images: a student that sees images needs an image store")
        files = Files(self.images, expand(self.data.root) if self.data.root else None)
        if self.data.pixel_cache is None:
            return files
        return Cached(self.images, files, self.data.pixel_cache, 2 * self.data.workers)

    def _mask(self, step: int, images: int) -> Tensor | None:
        """Proteus: of the first `share` of a batch, `ratio` of the patches of each image, drawn evenly."""
        mask = self.data.mask
        if mask is None:
            return None
        if not self.patches:
            raise RecipeError(
                "data.mask: this student has no patches to mask; take a vision transformer with tokens = true"
            )
        random = np.random.Generator(np.random.PCG64([self.seed, _STREAMS["masks"], step]))
        noise = torch.from_numpy(random.random((images, self.patches)))
        hidden = noise.argsort(1).argsort(1) < int(self.patches * mask.ratio)
        return hidden & (torch.arange(images) < int(images * mask.share))[:, None]

    def _text_source(self) -> Unpaired | OwnCaptions | ClassTexts | None:
        if self.texts:
            return Unpaired(self.texts)
        if self.classes and self.images:
            return ClassTexts(self.images, self.classes, self.data.class_names)
        if self.images and self.data.captions != "none":
            return OwnCaptions(self.images, merged=self.data.captions == "unique")
        return None

    @cached_property
    def _scale(self) -> Tensor | None:
        scale = self.teacher.get("logit_scale")
        return None if scale is None else torch.tensor(scale)

    def _whole_batches(self, corpus: str) -> int:
        store, size = self.stores[corpus], self.data.batch_size if corpus == "images" else self.text_batch_size
        steps = len(store.ok_rows) // size
        if steps == 0:
            knob = "data.batch_size" if corpus == "images" else "data.text_batch_size"
            raise TrainError(f"{store.path}: {len(store.ok_rows)} rows make no batch of {size}; lower {knob}")
        return steps

    def _order(self, corpus: str, epoch: int) -> np.ndarray:
        """Every usable row once, shuffled by (seed, corpus, epoch)."""
        random = np.random.Generator(np.random.PCG64([self.seed, _STREAMS[corpus], epoch]))
        return random.permutation(self.stores[corpus].ok_rows)


def _open(path: str, teacher: str | None) -> FeatureStore:
    """A store, and of several teachers in it the one that is learned from."""
    store = FeatureStore(expand(path))
    several = len(store.manifest.teachers) > 1
    if several and teacher is None:
        names = ", ".join(store.manifest.teachers)
        raise RecipeError(f"{store.path}: holds what several teachers said ({names}); name one of them in data.teacher")
    # A text store of one teacher may know it by another name: whether it is the same one, its fingerprint tells.
    return FeatureStore(store.path, teacher) if several or teacher in store.teachers else store
