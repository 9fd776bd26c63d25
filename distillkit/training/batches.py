"""The data of a run: the batch of a step is a pure function of the recipe, the stores and the step's number.

So a run resumes at any step, with any number of workers and ranks, as if it had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import RecipeError, TrainError
from distillkit.pixels.cuts import Cuts
from distillkit.pixels.jpegs import batch_of, no_gpu
from distillkit.pixels.mixing import Mix, drawn
from distillkit.pixels.resample import same_on
from distillkit.recipe import Data
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.training.ask import Ask, stored
from distillkit.training.images import image_stores, open_store
from distillkit.training.order import order_of
from distillkit.training.ranks import Ranks
from distillkit.training.texts import ClassTexts, NearTexts, OwnCaptions, Unpaired, proximal
from distillkit.types import Batch, Features, concatenated

# Independent random streams of one seed; images.py has 0.
_TEXTS, _MASKS, _NEAR = 1, 2, 3


class Batches:
    """Batches for one student, or several that see the same pixels; of each batch, this rank's share.

    `needs`, such as {"teacher.image"}, limits what is read from the stores.
    """

    def __init__(self, data: Data, seed: int, student: Any, ranks: Ranks | None = None, ask: Ask | None = None):
        self.data, self.seed, self.ranks = data, seed, ranks or Ranks()
        self.image_size: int | None = student.image_size
        self.device: torch.device | None = None
        self.tokenize = getattr(student, "tokenize", None)
        self.patches = int(getattr(student, "patches", 0) or 0)
        if data.batch_size % self.ranks.world:
            raise TrainError(
                f"{self.ranks.world} processes cannot share data.batch_size = {data.batch_size}; make it a multiple"
            )
        if data.augment.mixes and data.batch_size // self.ranks.world % 2:
            raise TrainError(
                f"data.augment: mixup and CutMix mix images in pairs, each of {self.ranks.world} processes has "
                f"{data.batch_size // self.ranks.world} of data.batch_size = {data.batch_size}; make that even"
            )
        self.images = image_stores(data, seed, ask)
        self.texts = open_store(data.texts, data.teacher, "data.teacher") if data.texts else None
        self.classes = open_store(data.classes, data.teacher, "data.teacher") if data.classes else None
        for other in (self.texts, self.classes):
            if self.images and other:
                refuse_other_teacher(self.images[0].store, "image", other, "text")
        self.text_batch_size = data.text_batch_size or data.batch_size
        self.text_order = (
            order_of(data.order, self.texts, seed, (_TEXTS,), reads=self._text_fields) if self.texts else None
        )
        self.near: Neighbours | None = None
        if self.texts and data.sampling != "uniform":
            self.near = Neighbours(self.images[0].store, data.neighbours, self.texts, data.neighbours_k)
        self.said = self._text_source(ask or stored)
        self.steps_per_epoch = data.repeats * self._whole_batches()
        self._read({f"teacher.{name}" for name in self.teacher_widths})
        self.notes = [note for images in self.images for note in images.notes]
        self.notes += [texts.note for texts in self.said[:1] if isinstance(texts, ClassTexts) and texts.note]
        self.wait_seconds = 0.0

    @property
    def stores(self) -> dict[str, FeatureStore]:
        """The stores that are read, by the recipe's name for them."""
        images = {f"images.{number}" if number else "images": one.store for number, one in enumerate(self.images)}
        also = {f"also.{name}": store for one in self.images for name, store in one.others.items()}
        near = self.near.store if self.near else None
        named = images | also | {"texts": self.texts, "classes": self.classes, "neighbours": near}
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
        """Width of each feature of the main teacher that batches can carry."""
        of_images = [images.widths() for images in self.images]
        widths = dict(set(of_images[0].items()).intersection(*(one.items() for one in of_images))) if of_images else {}
        if self.said:
            widths["text"] = self.said[0].width
        if self.classes and self.data.captions != "none" and self.images:
            widths["caption"] = self.images[0].store.field("text").shape[-1]
        return widths | ({"scale": 1} if self._scale is not None else {})

    @cached_property
    def other_widths(self) -> dict[str, dict[str, int]]:
        """The same of each further teacher."""
        return {name: self.images[0].widths(name) for name in self.data.also}

    def go_to(self, device: torch.device) -> None:
        """Where batches will be moved to: it may make their pixels, if they are the bytes that workers make."""
        wanted, size, augment = self.data.render, self.image_size, self.data.augment
        if augment.resample == "nvjpeg":
            refusal = no_gpu(device)
            if refusal:
                raise RecipeError(f"data.augment.resample: {refusal}")
            self.device = device
            self.notes.append(
                "data.augment.resample: nvjpeg decodes JPEGs; the CPU decodes grey, turned, and other images"
            )
            return
        if wanted == "workers" or (wanted == "auto" and device.type != "cuda") or size is None:
            return
        if same_on(device, augment.resample, size, augment.interpolation):
            self.device = device
        else:
            self.notes.append(
                f"data.render: {device} does not make the bytes that this version of {augment.resample} makes of a "
                "crop; workers make them"
            )

    def narrow(self, needs: Iterable[str]) -> None:
        """Read only what some loss needs: patch tokens are half a megabyte an image."""
        needs = set(needs)
        _refuse_other_patches(self.data, needs)
        self._read(needs)

    def _read(self, needs: set[str]) -> None:
        self.needs = needs
        for images in self.images:
            images.needs = needs

    def _text_fields(self) -> list[str]:
        return ["text"] if "teacher.text" in self.needs else []

    def try_out(self) -> None:
        """SourceError for images that are not there, where no pixel cache could do without them."""
        for images in self.images if self.image_size and self.data.pixel_cache is None else ():
            _ = images.files.source

    def prepare(self) -> None:
        """Make what is made once, before ranks and threads ask for it: the pixel cache; features in the page cache."""
        for images in self.images if self.image_size else ():
            _ = images.opened
        if self.data.order == "random":
            for images in self.images:
                images.store.populate(images.reads())
            if self.texts:
                self.texts.populate(self._text_fields())

    def stream(self, first: int, stop: int, ahead: int = 0) -> Iterator[Batch]:
        """The batches of steps first .. stop-1. Waiting for them is counted.

        `ahead`: how many are made while the student computes. On a CPU both want the same cores: threads of the
        student that wait for one that lost its core cost it four times what a batch costs, so there 0 is fastest.
        """
        with _pool(self.data.threads) as pool, _pool(1) as maker:
            queue: list[Future[Batch]] = []
            for step in range(first, stop):
                started = time.perf_counter()
                while ahead and len(queue) < ahead and step + len(queue) < stop:
                    queue.append(maker.submit(self.at, step + len(queue), pool))
                batch = queue.pop(0).result() if queue else self.at(step, pool)
                self.wait_seconds += time.perf_counter() - started
                yield batch

    def at(self, step: int, pool: Executor | None = None) -> Batch:
        """This rank's share of the batch of one step. `pool`: threads that make pixels."""
        if not self.images:
            return self._texts_alone(step)
        turns = [images.turn(step) for images in self.images]
        spans = self._spans([len(rows) for _, rows in turns])
        mine = [(epoch, rows[span]) for (epoch, rows), span in zip(turns, spans, strict=True)]
        keys = [images.keys(rows) for images, (_, rows) in zip(self.images, mine, strict=True)]
        text, tokens, match = self._say(step, [rows for _, rows in turns], spans)
        seen = [images.views(named, epoch) for images, (epoch, _), named in zip(self.images, mine, keys, strict=True)]
        said = [
            images.said(rows, views, self.needs)
            for images, (_, rows), views in zip(self.images, mine, seen, strict=True)
        ]
        captions = self.images[0].store.read("text", mine[0][1]) if "teacher.caption" in self.needs else None
        others = {name: self.images[0].said(mine[0][1], seen[0], self.needs, name) for name in self.data.also}
        mix = drawn(self.data.augment, self.seed, step, self.image_size) if self.image_size else None
        pixels, crops = self._pixels(mine, keys, pool, mix)
        return Batch(
            keys=tuple(key for part in keys for key in part),
            pixels=pixels,
            crops=crops,
            tokens=tokens,
            match=match,
            mask=self._mask(step),
            teacher=replace(concatenated(said), text=text, caption=captions, scale=self._scale),
            others=others,
            step=step,
            own_share=mix.share if mix else 1.0,
        )

    def _spans(self, sizes: list[int]) -> list[slice]:
        """This rank's part of each store's rows of a batch: of all of them in a row, an equal share."""
        whole, first, spans = self.ranks.span(sum(sizes)), 0, []
        for size in sizes:
            spans.append(slice(max(whole.start - first, 0), max(min(whole.stop - first, size), 0)))
            first += size
        return spans

    def _texts_alone(self, step: int) -> Batch:
        text, tokens, _ = self._say(step, [], [])
        keys = tuple(self.first.values("key", self._text_rows(step)))
        return Batch(keys, tokens=tokens, teacher=Features(text=text, scale=self._scale), step=step)

    def _text_rows(self, step: int, images: np.ndarray | None = None) -> np.ndarray:
        """Rows of the unpaired texts: this rank's part of a pass that goes round by itself, or of what is near."""
        assert self.text_order is not None
        epoch, place = divmod(step, len(self.text_order) // self.text_batch_size)
        rows = self.text_order.rows(epoch, place * self.text_batch_size, (place + 1) * self.text_batch_size)
        if self.near and images is not None:
            random = np.random.Generator(np.random.PCG64([self.seed, _NEAR, step]))
            rows = proximal(self.near.ids(images), rows, random)
        return rows[self.ranks.span(len(rows))]

    def _say(
        self, step: int, rows: list[np.ndarray], spans: list[slice]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Teacher features and tokens of the texts of a step, and which of them describes which of this rank's images.

        Texts that several images share (classes, merged captions, neighbours) are the whole batch's on every rank.
        """
        sources: list[Any] = self.said
        if not sources:
            return None, None, None
        if self.classes or self.data.captions == "unique" or isinstance(sources[0], NearTexts):
            asked = [said.rows(part) for said, part in zip(sources, rows, strict=True)]
            matches = [match[span] for (_, match), span in zip(asked, spans, strict=True) if match is not None]
            found: list[Any] = [(asked[0][0], torch.cat(matches) if matches else None)]
            sources = sources[:1]
        elif self.texts:
            found = [sources[0].rows(self._text_rows(step, rows[0] if rows else None))]
        else:
            found = [said.rows(part[span]) for said, part, span in zip(sources, rows, spans, strict=True)]
        text = tokens = None
        if "teacher.text" in self.needs:
            text = torch.cat([said.read(part) for said, (part, _) in zip(sources, found, strict=True)])
        if self.tokenize:
            tokens = self.tokenize(
                [t for said, (part, _) in zip(sources, found, strict=True) for t in said.texts(part)]
            )
        if found[0][1] is None:
            return text, tokens, None
        before = np.cumsum([0, *(len(part) for part, _ in found)])
        return text, tokens, torch.cat([match + int(first) for (_, match), first in zip(found, before, strict=False)])

    def _pixels(
        self, mine: list[tuple[int, np.ndarray]], keys: list[tuple[str, ...]], pool: Executor | None, mix: Mix | None
    ) -> tuple[Tensor | None, Cuts | None]:
        """Of every store, one behind the other; or what the device makes them of."""
        size, augment = self.image_size, self.data.augment
        if size is None:
            return None, None
        asked = [
            (images, (rows, named, epoch, size, pool))
            for images, (epoch, rows), named in zip(self.images, mine, keys, strict=True)
        ]
        if augment.resample == "nvjpeg":
            if self.device is None:
                raise RecipeError(
                    "data.augment.resample: nvjpeg decodes where the student is; call go_to(device) first"
                )
            named = [one for images, what in asked for one in images.undecoded(*what)]
            pixels = batch_of(named, size, augment.interpolation, self.device)
            return (mix(pixels) if mix else pixels), None
        if self.device is not None:
            cuts = [cut for images, what in asked for cut in images.cuts(*what)]
            return None, Cuts(cuts, size, augment.interpolation, augment.resample, pool, mix)
        parts = [images.pixels(*what) for images, what in asked]
        pixels = parts[0] if len(parts) == 1 else torch.cat(parts)
        return (mix(pixels) if mix else pixels), None

    def _mask(self, step: int) -> Tensor | None:
        """Proteus: of the first `share` of a batch, `ratio` of the patches of each image, drawn evenly."""
        mask, images = self.data.mask, self.data.batch_size
        if mask is None:
            return None
        if not self.patches:
            raise RecipeError(
                "data.mask: this student has no patches to mask; take a vision transformer with tokens = true"
            )
        random = np.random.Generator(np.random.PCG64([self.seed, _MASKS, step]))
        noise = torch.from_numpy(random.random((images, self.patches)))
        hidden = noise.argsort(1).argsort(1) < int(self.patches * mask.ratio)
        return (hidden & (torch.arange(images) < int(images * mask.share))[:, None])[self.ranks.span(images)]

    def _text_source(self, ask: Ask) -> list[Unpaired] | list[NearTexts] | list[OwnCaptions] | list[ClassTexts]:
        """Where texts come from; own captions of several image stores from each."""
        if self.texts and self.near and self.data.sampling == "neighbours":
            return [NearTexts(self.texts, self.near, ask)]
        if self.texts:
            return [Unpaired(self.texts, ask)]
        if self.classes and self.images:
            firsts = [mixed.first_class for mixed in self.data.mix] or [self.data.first_class]
            return [
                ClassTexts(images.store, self.classes, self.data.class_names, first)
                for images, first in zip(self.images, firsts, strict=True)
            ]
        if self.images and self.data.captions != "none":
            return [OwnCaptions(images.store, ask, merged=self.data.captions == "unique") for images in self.images]
        return []

    @cached_property
    def _scale(self) -> Tensor | None:
        scale = self.teacher.get("logit_scale")
        return None if scale is None else torch.tensor(scale)

    def _whole_batches(self) -> int:
        """Batches in a pass over the first store."""
        if self.texts and self.text_order is not None and self.data.sampling != "neighbours":
            rows, size = len(self.text_order), self.text_batch_size
            if rows < size:
                raise TrainError(f"{self.texts.path}: {rows} rows make no batch of {size}; lower data.text_batch_size")
        if self.images:
            return self.images[0].passes
        assert self.text_order is not None
        return len(self.text_order) // self.text_batch_size


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose own tensor operations use one core each: there are as many of them as cores."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def _refuse_other_patches(data: Data, needs: set[str]) -> None:
    """Every cached patch token has seen the view it was computed from: it cannot be mirrored or cropped afterwards."""
    augment = data.augment
    same = augment.crop == "resized" and augment.scale == augment.ratio == (1.0, 1.0) and not augment.flip
    if data.views == "own" and not same and any(need.endswith(".patches") for need in needs):
        raise RecipeError(
            "data.augment: a loss pairs patches with the teacher's, which saw the clean view; show the student that: "
            'scale = [1.0, 1.0], ratio = [1.0, 1.0], flip = 0.0; or store views and set data.views = "stored"'
        )
