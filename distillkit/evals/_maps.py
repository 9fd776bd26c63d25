"""Patch tokens as maps, some images at a time, and a head that learns on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import StoreError
from distillkit.evals._encode import EncodeTokens, blank
from distillkit.pixels import centre_view
from distillkit.system.one_image import rows_of_images
from distillkit.system.progress import hearer, paced
from distillkit.system.wording import count
from distillkit.types import View

_KEPT = 1 << 31  # bytes of maps that are kept in memory; beyond, an image's are asked for each time


class Sized(Protocol):
    """Pictures of images."""

    def size_of(self, place: int) -> tuple[int, int]:
        """Width and height."""
        ...


class Maps:
    """What one network says of the patches of a store's images, each once. `cls`: its class token beside each patch.

    `masks`: those of the same images, which are the largest centred squares: where a network looked at another part of
    an image, its patches are put where they lie in that. `rows`: not all of its images, but those of these rows.
    `blank`: the network says nothing.
    """

    def __init__(
        self, encode: EncodeTokens, store: Any, masks: Sized, *, cls: bool = False, rows: np.ndarray | None = None
    ):
        self._encode, self._store, self._cls, self._masks = encode, store, cls, masks
        self._rows, self.where = rows_of_images(store) if rows is None else rows, store.path
        self.blank = blank(encode)
        self._known: dict[int, Tensor] = {}
        self._room = _KEPT

    def of(self, places: np.ndarray) -> Float[Tensor, "b e g g"]:
        """Of these among the images, on the network's device."""
        new = [int(place) for place in places if int(place) not in self._known]
        fresh = dict(zip(new, self._ask(np.array(new)), strict=True)) if new else {}
        there = [self._known[place] if place in self._known else fresh[place] for place in map(int, places)]
        size = sum(one.numel() * one.element_size() for one in fresh.values())
        if size <= self._room:
            self._room -= size
            self._known |= fresh
        return torch.stack(there).to(self._encode.device)

    def _ask(self, places: np.ndarray) -> Float[Tensor, "b e g g"]:
        said = self._encode.tokens(self._store, self._rows[places], cls=self._cls)
        found = said.patches.float().nan_to_num()
        side = round(found.shape[1] ** 0.5)
        if side * side != found.shape[1]:
            raise StoreError(
                f"{self._store.path}: {count(found.shape[1], 'patch', 'patches')} make no square; dense probes need "
                "square images"
            )
        if said.cls is not None and self._cls:
            found = torch.cat([found, said.cls.float().nan_to_num()[:, None].expand(-1, found.shape[1], -1)], 2)
        maps = found.transpose(1, 2).unflatten(2, (side, side))
        rows, looked = self._rows[places], getattr(self._encode, "looked", None)
        view = looked(self._store, rows) if looked else None
        if view is None:
            return maps
        sizes = [self._masks.size_of(int(place)) for place in places]
        return over_the_square(maps, [view(n, *size) for n, size in enumerate(sizes)], sizes)


def over_the_square(
    maps: Float[Tensor, "b e g g"], views: Sequence[View], sizes: Sequence[tuple[int, int]]
) -> Float[Tensor, "b e g g"]:
    """Maps of `views` of images of these widths and heights as maps of their largest centred squares. Between patches
    is interpolated; beyond the outermost ones their own value counts.
    """
    cells = (torch.arange(maps.shape[-1]) + 0.5) / maps.shape[-1]
    grids = []
    for view, size in zip(views, sizes, strict=True):
        square, box = centre_view(*size).box, view.box
        across, down = (
            (square[n] + cells * (square[n + 2] - square[n]) - box[n]) / (box[n + 2] - box[n]) for n in (0, 1)
        )
        across = 1 - across if view.flip else across
        grids.append(torch.stack(torch.meshgrid(2 * across - 1, 2 * down - 1, indexing="xy"), -1))
    where = torch.stack(grids).to(maps.device, maps.dtype)
    return F.grid_sample(maps, where, mode="bilinear", padding_mode="border", align_corners=False)


def learned(
    build: Callable[[int], nn.Module],
    maps: Maps,
    images: int,
    loss: Callable[[Tensor, np.ndarray, int], Tensor],
    *,
    steps: int,
    batch: int,
    lr: float,
    weight_decay: float,
    warmup: float,
    seed: int,
) -> nn.Module:
    """A head that `build` makes of the width of the maps, by AdamW; the rate rises over the share `warmup` of the
    steps, then falls to 0 along a line. `loss` is given what the head says of a batch, the batch's places, the step.

    Nobody's random numbers are touched. Of a network that says nothing a step is all there is to learn.
    """
    steps = 1 if maps.blank else steps
    random = np.random.default_rng(seed)
    first = maps.of(np.arange(min(images, 1)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build(first.shape[1])
    head = head.to(first.device).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=weight_decay)
    rising = max(int(steps * warmup), 1)
    order = np.empty(0, np.int64)
    for step in paced(f"{maps.where}: steps of learning on patches", steps, 1, hearer()):
        while len(order) < min(batch, images):
            order = np.concatenate([order, random.permutation(images)])
        places, order = order[:batch], order[batch:]
        for group in optimizer.param_groups:
            group["lr"] = lr * min((step + 1) / rising, (steps - step) / max(steps - rising, 1))
        optimizer.zero_grad()
        loss(head(maps.of(places)), places, step).backward()
        optimizer.step()
    return head.eval()
