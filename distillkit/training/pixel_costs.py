"""What pixels cost a run, and what either pixel cache would cost and save: measured on a few images, none is made."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import torch

from distillkit.originals import Originals
from distillkit.pixels.resizing import usual_size
from distillkit.system.evenly import evenly
from distillkit.training.pixel_cache import Format, Sampled, exists, squeeze, to_jpeg
from distillkit.training.pixels import Pixels

_IMAGES = 48


class Cost(NamedTuple):
    """Of one image: bytes in a cache, seconds of a core to put it there, and to make the student's pixels from it."""

    bytes: float
    making: float
    using: float


class PixelCosts:
    """Measured on one core; `size` is that of the recipe's cache, or a usual one for these pixels."""

    def __init__(self, pixels: Pixels):
        self.pixels, self.data, images = pixels, pixels.data, pixels.images
        self.size = self.data.pixel_cache or usual_size(pixels.size)
        rows = images.store.ok_rows
        self.rows = evenly(rows, _IMAGES)
        files = Originals(images.store, images.root)
        squares, squeezing = _timed(lambda: [squeeze(files, row, self.size) for row in self.rows.tolist()])
        jpegs, packing = _timed(lambda: [(to_jpeg(square), shape) for square, shape in squares])
        self.sampled = {"raw": Sampled(squares, pixels.resample), "jpeg": Sampled(jpegs, pixels.resample)}
        count = len(self.rows)
        fixed = self.data.augment.crop == "fixed"  # then decoding is all, and an original may be too small to cut
        self.original = self._decoding() if fixed else self._using(images.files)
        self.costs: dict[Format, Cost] = {
            "raw": Cost(squares[0][0].nbytes, squeezing / count, self._using(self.sampled["raw"])),
            "jpeg": Cost(
                sum(len(data) for data, _ in jpegs) / count,
                (squeezing + packing) / count,
                self._using(self.sampled["jpeg"]),
            ),
        }

    def _decoding(self) -> float:
        _, seconds = _timed(lambda: [self.pixels.images.files.open(row) for row in self.rows.tolist()])
        return seconds / len(self.rows)

    def _using(self, opened: Any) -> float:
        """Seconds of a core to make an image of a batch from these files; the second time counts."""
        pixels = copy.copy(self.pixels)
        pixels.opened = opened
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for epoch in range(2):
                shown = pixels.images.shown(epoch, self.rows)
                _, seconds = _timed(partial(pixels.made, shown, pool))
        return seconds / len(self.rows)

    def report(self, rows: int, seen: int) -> list[str]:
        """What `seen` images of a run cost, and what caches of `rows` images would change, a line each."""
        data, store = self.data, self.pixels.images.store
        threads, free = data.threads, shutil.disk_usage(store.path.parent).free

        def shared(seconds: float) -> str:
            return clock(seconds / threads)

        lines = [
            f"pixels       {1000 * self.original:.2f} ms of a core an image from the originals, "
            f"{shared(seen * self.original)} of {threads} threads in this run"
        ]
        for form, cost in self.costs.items():
            chosen = data.pixel_cache is not None and data.pixel_cache_format == form
            state = "is there" if exists(store, self.size, form) else f"made in {shared(rows * cost.making)}"
            keys = f"data.pixel_cache = {self.size}" + ("" if form == "raw" else f', pixel_cache_format = "{form}"')
            lines.append(
                f"pixel cache  {self.size} px {form} ({keys}): {rows * cost.bytes / 1e9:.2f} GB of "
                f"{free / 1e9:,.0f} GB free, {state}, then {1000 * cost.using:.2f} ms an image, which saves "
                f"{shared(seen * max(self.original - cost.using, 0.0))}{'; the recipe asks for it' if chosen else ''}"
            )
        return lines


def clock(seconds: float) -> str:
    """ "2 h 05 min", or "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    made = make()
    return made, time.perf_counter() - started
