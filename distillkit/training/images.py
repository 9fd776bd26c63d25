"""The images of one store in training: whose turn it is, their pixels, and what was said of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from distillkit.errors import RecipeError, SourceError, TrainError
from distillkit.evals._labels import labels_of
from distillkit.evals._shots import shots_of
from distillkit.originals import Originals, moved
from distillkit.pixels.augment import fixed_crop, mark_of, random_view, sample_stream
from distillkit.pixels.cuts import Cut, finished
from distillkit.pixels.jpegs import Wanted
from distillkit.pixels.resample import RESAMPLE
from distillkit.pixels.views import unpacked
from distillkit.recipe import Data, Mixed
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.training.ask import Ask, stored
from distillkit.training.join import join
from distillkit.training.order import order_of
from distillkit.training.pixel_cache import Cached, Sampled
from distillkit.types import Features, View

# Teacher features that lie in rows of an image store, as fields of `Features`.
FIELDS = ("image", "cls", "patches", "logits", "classes")
_STREAM = 0  # of the seed, for the order of images


class Images:
    """One store, of which every batch takes `share` images. `others`: what more teachers said, joined by key.

    `among`: the only rows that are used.
    """

    def __init__(
        self,
        store: FeatureStore,
        data: Data,
        *,
        seed: int,
        share: int,
        others: dict[str, FeatureStore],
        root: str | None,
        number: int = 0,
        ask: Ask | None = None,
        among: Int64[np.ndarray, "n"] | None = None,
    ):
        self.store, self.data, self.seed, self.share, self.others = store, data, seed, share, others
        self.root, self.ask = root, ask or stored
        if data.views == "stored":
            _refuse_without_views(store)
        joined = {name: join(store, other, f"data.also.{name}") for name, other in others.items()}
        self.places = {name: place for name, (place, _) in joined.items()}
        self.notes = [note for _, note in joined.values() if note]
        if self.places:
            joined_rows = np.flatnonzero(np.all([place >= 0 for place in self.places.values()], axis=0))
            among = joined_rows if among is None else np.intersect1d(among, joined_rows)
        # The first store's order has the name it always had; each further one has its own.
        stream = (_STREAM, *([number] if number else []))
        self.order = order_of(data.order, store, seed, stream, among, reads=self.reads)
        self.needs: set[str] = set()

    @property
    def passes(self) -> int:
        """How many batches a pass gives; rows that fill no whole share wait for the next."""
        return len(self.order) // self.share

    def reads(self) -> list[str]:
        """The fields of its store that batches read."""
        if self.ask is not stored:
            return []
        said = {need.removeprefix("teacher.") for need in self.needs}
        captions = {"text"} if self.data.captions != "none" and said & {"text", "caption"} else set()
        return [name for name in self.store.own_fields if name in said.intersection(FIELDS) | captions]

    def turn(self, step: int) -> tuple[int, Int64[np.ndarray, "n"]]:
        """The pass that a step belongs to, and its rows in that pass."""
        epoch, place = divmod(step, self.passes)
        return epoch, self.order.rows(epoch, place * self.share, (place + 1) * self.share)

    def widths(self, name: str | None = None) -> dict[str, int]:
        """Width of each feature of the main teacher, or of one of the others."""
        store = self.others[name] if name else self.store
        said = store.own_fields
        widths = {name: said[name].shape[-1] for name in FIELDS if name in said}
        if "classes" in said:  # only the best are kept of each row; how many there are, the teacher told
            widths["logits"] = store.teacher("classes")["classes"]
        return widths

    def keys(self, rows: Int64[np.ndarray, "n"]) -> tuple[str, ...]:
        return tuple(self.store.values("key", rows))

    def said(
        self, rows: Int64[np.ndarray, "n"], views: Int64[np.ndarray, "n"], needs: set[str], name: str | None = None
    ) -> Features:
        """What the main teacher, or one of the others, said of these rows: what is in `needs`, as "teacher.image".

        Beside the best logits stand the classes they belong to.
        """
        store, rows = (self.others[name], self.places[name][rows]) if name else (self.store, rows)
        views = views if self.data.views == "stored" and not name else np.zeros(len(rows), np.int64)
        wanted = {need.removeprefix(f"{name or 'teacher'}.") for need in needs}
        wanted |= {"classes"} if "logits" in wanted else set()
        return Features(
            **{field: self.ask(store, field, rows, views) for field in self.widths(name) if field in wanted}
        )

    def views(self, keys: tuple[str, ...], epoch: int) -> Int64[np.ndarray, "n"]:
        """Which stored view each image shows in a pass: another one each time, until all were seen."""
        return np.array([(epoch + mark_of(key)) % self.store.views.count for key in keys], np.int64)

    def pixels(
        self, rows: Int64[np.ndarray, "n"], keys: tuple[str, ...], epoch: int, size: int, pool: Executor | None = None
    ) -> UInt8[Tensor, "n 3 h w"]:
        """The views of one pass at size x size, a part of them in each thread of the pool."""
        # Copies to a GPU out of pinned memory wait for nobody.
        shape = (len(rows), size, size, 3) if self.resample.interleaved else (len(rows), 3, size, size)
        out = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        out = out.permute(0, 3, 1, 2) if self.resample.interleaved else out
        table = out.numpy()

        def render(place: int, image: Any, view: View) -> None:
            table[place] = self.resample.render(image, view, size, self.data.augment.interpolation)

        self._see(rows, keys, epoch, size, pool, render)
        return out

    def cuts(
        self, rows: Int64[np.ndarray, "n"], keys: tuple[str, ...], epoch: int, size: int, pool: Executor | None = None
    ) -> list[Cut]:
        """What a device needs to make the same pixels."""
        interpolation, cuts = self.data.augment.interpolation, {}

        def cut(place: int, image: Any, view: View) -> None:
            found = self.resample.cut(image, view, size, interpolation)
            if not found.fits(size):
                found = finished(self.resample.render(image, view, size, interpolation))
            elif self.data.pixel_cache is None or self.data.pixel_cache_format == "jpeg":
                # A piece of an image would keep all of it in memory; one of a mapped file keeps nothing.
                found = replace(found, pixels=found.pixels.copy())
            cuts[place] = found

        self._see(rows, keys, epoch, size, pool, cut)
        return [cuts[place] for place in range(len(rows))]

    def undecoded(
        self, rows: Int64[np.ndarray, "n"], keys: tuple[str, ...], epoch: int, size: int, pool: Executor | None = None
    ) -> list[tuple[str, Wanted]]:
        """The images and their views for a GPU that decodes, by where they are."""
        wanted = {}

        def keep(place: int, image: Any, view: View) -> None:
            wanted[place] = (self.store.index["image"][int(rows[place])].as_py(), Wanted(image, (view,)))

        self._see(rows, keys, epoch, size, pool, keep)
        return [wanted[place] for place in range(len(rows))]

    def _see(
        self,
        rows: np.ndarray,
        keys: tuple[str, ...],
        epoch: int,
        size: int,
        pool: Executor | None,
        use: Callable[[int, Any, View], None],
    ) -> None:
        """Hand every image to `use`, with its place among the rows and its view."""
        views = self._stored_views(rows, keys, epoch)

        def see(places: np.ndarray) -> None:
            for place in places.tolist():
                image, width, height = self.opened.open(int(rows[place]))
                use(
                    place,
                    image,
                    views[place] if views else self._drawn(image, keys[place], epoch, width, height, size),
                )

        places = np.arange(len(rows))
        if pool is None:
            see(places)
        else:
            _ = list(pool.map(see, np.array_split(places, min(self.data.threads, len(rows)))))

    def _stored_views(self, rows: np.ndarray, keys: tuple[str, ...], epoch: int) -> list[View]:
        """What the teacher looked at, where that is replayed."""
        if self.data.views == "own":
            return []
        drawn = self.store.read(PARAMETERS, rows, view=self.views(keys, epoch))
        return [unpacked(row) for row in drawn.numpy()]

    def _drawn(self, image: Any, key: str, epoch: int, width: int, height: int, size: int) -> View:
        augment, random = self.data.augment, sample_stream(self.seed, epoch, key)
        if augment.crop == "resized":
            return random_view(random, width, height, scale=augment.scale, ratio=augment.ratio, flip=augment.flip)
        width, height = self.resample.size(image)
        if min(width, height) < size:
            raise SourceError(
                f"{key}: {width} x {height} pixels, the student wants {size}; set data.augment.crop to resized"
            )
        return fixed_crop(random, width, height, size, flip=augment.flip)

    @property
    def resample(self) -> Any:
        return RESAMPLE[self.data.augment.resample]

    @cached_property
    def opened(self) -> Cached | Sampled | Originals:
        """Where decoded images come from; the first call makes the pixel cache, if the recipe wants one."""
        if self.data.pixel_cache is None:
            return self.files
        size, form = self.data.pixel_cache, self.data.pixel_cache_format
        return Cached(self.store, self.files, size, form, 2 * self.data.threads)

    @cached_property
    def files(self) -> Originals:
        """Where its images come from at first."""
        return Originals(self.store, self.root, self.data.augment.resample)


def _refuse_without_views(store: FeatureStore) -> None:
    if PARAMETERS not in store.fields:
        raise RecipeError(
            f"data.views: {store.path} keeps none; extract it with [corpora.views], or set data.views to own"
        )


def image_stores(data: Data, seed: int, ask: Ask | None = None) -> list[Images]:
    """The image stores of a recipe, each with its share of a batch; the shares add up to the batch."""
    mixed = data.mix or ([Mixed(images=data.images)] if data.images else [])
    roots = moved(data)
    ends = np.cumsum([0.0, *(one.weight for one in mixed)])
    shares = np.diff(np.rint(ends / max(ends[-1], 1e-30) * data.batch_size).astype(int)).tolist()
    found = []
    for number, (one, share) in enumerate(zip(mixed, shares, strict=True)):
        store = open_store(one.images, data.teacher, "data.teacher")
        others = {
            name: open_store(also.images or one.images, also.teacher, f"data.also.{name}.teacher")
            for name, also in data.also.items()
        }
        if share == 0:
            raise RecipeError(f"data.mix: {store.path} gets no image of a batch of {data.batch_size}; raise its weight")
        among, note = _with_a_class(store, one.shots, data)
        root = roots.get(store.path.resolve())
        images = Images(
            store, data, seed=seed, share=share, others=others, root=root, number=number, ask=ask, among=among
        )
        images.notes += [note] if note else []
        if images.passes == 0:
            raise TrainError(f"{store.path}: {len(images.order)} rows make no batch of {share}; lower data.batch_size")
        found.append(images)
    for images in found[1:]:
        field = next(iter(found[0].widths()))
        refuse_other_teacher(found[0].store, field, images.store, field)
    return found


def _with_a_class(store: FeatureStore, shots: int | None, data: Data) -> tuple[Int64[np.ndarray, "n"] | None, str]:
    """The only rows that are used, and what to tell of the others; None where all are.

    Of few images of each class evaluations leave out the same ones. Where texts are classes, an image has to have one.
    """
    if not shots and not data.classes:
        return None, ""
    labels = labels_of(store, data.class_names)
    if shots:
        return store.ok_rows[shots_of(store, labels, shots)], ""
    if not labels.unlabelled:
        return None, ""
    told = f"{store.path}: {labels.unlabelled:,} of {labels.usable:,} images have no class and are left out"
    return store.ok_rows[labels.places], told


def open_store(path: str, teacher: str | None, knob: str) -> FeatureStore:
    """A store, and of several teachers in it the one that is learned from."""
    store = FeatureStore(expand(path))
    several = len(store.manifest.teachers) > 1  # what was added later is meant only when it is named
    if several and teacher is None:
        names = ", ".join(store.manifest.teachers)
        raise RecipeError(f"{store.path}: holds what several teachers said ({names}); name one of them in {knob}")
    # A text store of one teacher may know it by another name: whether it is the same one, its fingerprint tells.
    return FeatureStore(store.path, teacher) if several or teacher in store.teachers else store
