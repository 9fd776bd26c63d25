"""Where the pixels of a batch are made: by threads of this process, or by the device that the student is on."""

from __future__ import annotations

from concurrent.futures import Executor

import torch
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import RecipeError
from distillkit.pixels.cuts import Cuts
from distillkit.pixels.jpegs import batch_of, no_gpu
from distillkit.pixels.mixing import Mix
from distillkit.pixels.resample import same_on
from distillkit.recipe import Data
from distillkit.training.images import Images, Shown
from distillkit.training.pixels import Pixels


class Rendering:
    """Pixels at `size`, none without a size; by threads, until `go_to` finds a `device` that makes the same bytes."""

    def __init__(self, images: list[Images], data: Data, size: int | None):
        self.augment, self.wanted, self.size = data.augment, data.render, size
        self.pixels = [Pixels(one, size) for one in images] if size else []
        self.device: torch.device | None = None
        self.pin = False
        self.notes: list[str] = []

    def go_to(self, device: torch.device) -> None:
        """Where batches will be moved to: it may make their pixels, if they are the bytes that workers make."""
        size, augment = self.size, self.augment
        self.pin = device.type == "cuda"
        if augment.resample == "nvjpeg":
            refusal = no_gpu(device)
            if refusal:
                raise RecipeError(f"data.augment.resample: {refusal}")
            self.device = device
            self.notes.append(
                "data.augment.resample: nvjpeg decodes JPEGs; the CPU decodes grey, turned, and other images"
            )
            return
        if self.wanted == "workers" or (self.wanted == "auto" and device.type != "cuda") or size is None:
            return
        if same_on(device, augment.resample, size, augment.interpolation):
            self.device = device
        else:
            self.notes.append(
                f"data.render: {device} does not make the bytes that this version of {augment.resample} makes of a "
                "crop; workers make them"
            )

    def prepare(self, say: Say | None = None) -> None:
        """Make the pixel caches that the recipe wants and that are not there."""
        for one in self.pixels:
            one.say = say
            _ = one.opened

    def of(self, shown: list[Shown], mix: Mix | None, pool: Executor | None) -> tuple[Tensor | None, Cuts | None]:
        """Of every store, one behind the other: uint8 [b, 3, h, w]; or what the device makes them of."""
        if self.size is None or not shown:
            return None, None
        asked, augment = list(zip(self.pixels, shown, strict=True)), self.augment
        if augment.resample == "nvjpeg":
            if self.device is None:
                raise RecipeError(
                    "data.augment.resample: nvjpeg decodes where the student is; call go_to(device) first"
                )
            named = [one for pixels, what in asked for one in pixels.undecoded(what, pool)]
            decoded = batch_of(named, self.size, augment.interpolation, self.device)
            return (mix(decoded) if mix else decoded), None
        if self.device is not None:
            cuts = [cut for pixels, what in asked for cut in pixels.cuts(what, pool)]
            return None, Cuts(cuts, self.size, augment.interpolation, augment.resample, pool, mix, self.pin)
        parts = [pixels.made(what, pool, pin=self.pin) for pixels, what in asked]
        made = parts[0] if len(parts) == 1 else torch.cat(parts)
        return (mix(made) if mix else made), None
