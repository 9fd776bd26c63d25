"""What a student sees of the images of one store: a view of each, as pixels or as what a device makes them of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import SourceError
from distillkit.originals import Originals
from distillkit.pixels.augment import fixed_crop, random_view, sample_stream
from distillkit.pixels.cuts import Cut, finished
from distillkit.pixels.jpegs import Wanted
from distillkit.pixels.resample import RESAMPLE
from distillkit.pixels.room import room
from distillkit.pixels.views import unpacked
from distillkit.store.format.field import PARAMETERS
from distillkit.training.images import Images, Shown
from distillkit.training.pixel_cache import Cached, Sampled
from distillkit.types import View


class Pixels:
    """Views of `images` at size x size; which view an image shows in a pass depends on the seed and its key alone."""

    def __init__(self, images: Images, size: int):
        self.images, self.size, self.data = images, size, images.data
        self.say: Say | None = None  # who hears how a pixel cache comes along

    def made(self, shown: Shown, pool: Executor | None = None, pin: bool = False) -> UInt8[Tensor, "n 3 h w"]:
        """The views of these rows, a part of them in each thread of the pool.

        `pin`: in memory that a GPU copies out of while everybody goes on.
        """
        count, size = len(shown.rows), self.size
        shape = (count, size, size, 3) if self.resample.interleaved else (count, 3, size, size)
        out = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        out = out.permute(0, 3, 1, 2) if self.resample.interleaved else out
        table = out.numpy()

        def render(place: int, image: Any, view: View) -> None:
            table[place] = self.resample.render(image, view, size, self.data.augment.interpolation)

        self._see(shown, pool, render)
        return out

    def cuts(self, shown: Shown, pool: Executor | None = None) -> list[Cut]:
        """What a device needs to make the same pixels."""
        interpolation, size, cuts = self.data.augment.interpolation, self.size, {}

        def cut(place: int, image: Any, view: View) -> None:
            found = self.resample.cut(image, view, size, interpolation)
            if not found.fits(size):
                found = finished(self.resample.render(image, view, size, interpolation))
            elif self.data.pixel_cache is None or self.data.pixel_cache_format == "jpeg":
                # A piece of an image would keep all of it in memory; one of a mapped file keeps nothing.
                found = replace(found, pixels=found.pixels.copy())
            cuts[place] = found

        self._see(shown, pool, cut)
        return [cuts[place] for place in range(len(shown.rows))]

    def undecoded(self, shown: Shown, pool: Executor | None) -> list[tuple[str, Wanted]]:
        """The images and their views for a GPU that decodes, by where they are."""
        places, wanted = self.images.store.index["image"], {}

        def keep(place: int, image: Any, view: View) -> None:
            wanted[place] = (places[int(shown.rows[place])].as_py(), Wanted(image, (view,)))

        self._see(shown, pool, keep)
        return [wanted[place] for place in range(len(shown.rows))]

    def _see(self, shown: Shown, pool: Executor | None, use: Callable[[int, Any, View], None]) -> None:
        """Hand every image to `use`, with its place among the rows and its view."""
        views, look = self._stored_views(shown), self.images.look

        def view_of(place: int, image: Any, width: int, height: int) -> View:
            if views:
                return views[place]
            return look(width, height) if look else self._drawn(image, shown.keys[place], shown.epoch, width, height)

        def see(places: np.ndarray) -> None:
            for place in places.tolist():
                with room():
                    image, width, height = self.opened.open(int(shown.rows[place]))
                    use(place, image, view_of(place, image, width, height))

        places = np.arange(len(shown.rows))
        if pool is None:
            see(places)
        else:  # of one of several stores a rank may have no row at all
            _ = list(pool.map(see, np.array_split(places, max(min(self.data.threads, len(places)), 1))))

    def _stored_views(self, shown: Shown) -> list[View]:
        """What the teacher looked at, where that is replayed."""
        if self.data.views == "own":
            return self.images.first_drawn(shown.rows)
        return [unpacked(row) for row in self.images.store.read(PARAMETERS, shown.rows, view=shown.views).numpy()]

    def _drawn(self, image: Any, key: str, epoch: int, width: int, height: int) -> View:
        augment, random = self.data.augment, sample_stream(self.images.seed, epoch, key)
        if augment.crop == "resized":
            return random_view(random, width, height, scale=augment.scale, ratio=augment.ratio, flip=augment.flip)
        width, height = self.resample.size(image)
        if min(width, height) < self.size:
            raise SourceError(
                f"{key}: {width} x {height} pixels, the student wants {self.size}; set data.augment.crop to resized"
            )
        return fixed_crop(random, width, height, self.size, flip=augment.flip)

    @property
    def resample(self) -> Any:
        return RESAMPLE[self.data.augment.resample]

    @cached_property
    def opened(self) -> Cached | Sampled | Originals:
        """Where decoded images come from; the first call makes the pixel cache, if the recipe wants one."""
        images, size, form = self.images, self.data.pixel_cache, self.data.pixel_cache_format
        if size is None:
            return images.files
        return Cached(images.store, images.files, size, form, 2 * self.data.threads, self.say)
