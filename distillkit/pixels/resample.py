"""Who makes pixels of an image: Pillow, or PyTorch's own decoder and resizing. A recipe names one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from distillkit.pixels import decode, jpegs, render
from distillkit.pixels.augment import random_view, sample_stream
from distillkit.pixels.cuts import Cut, Cuts, cut_pillow, cut_tensor
from distillkit.pixels.randaugment import draw
from distillkit.pixels.resizing import Rounding
from distillkit.pixels.tensors import decode_tensor, from_array, render_tensor

# Crops without operations, and as many with; with this seed every operation is among them.
_TRIED, _SEED = 12, 43


class Resample(NamedTuple):
    """`decode` makes an image of bytes, `from_array` of rows of pixels; `size` is its width and height.

    `interleaved`: rendered pixels lie as in images, the colours of each together, and so a batch of them should.
    `cut` takes out of an image what a device makes the same pixels of as `render`.
    """

    decode: Callable[..., Any]
    from_array: Callable[[np.ndarray], Any]
    size: Callable[[Any], tuple[int, int]]
    render: Callable[..., np.ndarray]
    interleaved: bool
    cut: Callable[..., Cut]


RESAMPLE: dict[str, Resample] = {
    "pillow": Resample(decode, Image.fromarray, lambda image: image.size, render, False, cut_pillow),
    "torchvision": Resample(
        decode_tensor, from_array, lambda image: (image.shape[2], image.shape[1]), render_tensor, True, cut_tensor
    ),
    # What it opens is for `jpegs.rendered`, as JPEGs are not decoded yet.
    "nvjpeg": Resample(jpegs.opened, from_array, jpegs.size_of, render_tensor, True, cut_tensor),
}


@cache
def same_on(device: torch.device, name: Rounding, size: int, interpolation: str) -> bool:
    """Whether this device makes the library's own bytes of a few crops, large and small, wide and tall, mirrored, with
    every operation.

    Another version of a library may round in another way, and then its own pixels are the ones that count.
    """
    library, cuts, wanted = RESAMPLE[name], [], []
    for number, operations in enumerate((*[()] * _TRIED, *_tried_operations())):
        random = sample_stream(0, number, "resizing")
        width, height = (int(side) for side in random.integers(size // 2 + 1, 3 * size, 2))
        image = library.from_array(random.integers(256, size=(height, width, 3), dtype=np.uint8))
        view = random_view(random, width, height, scale=(0.1, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5)
        view = replace(view, ops=operations)
        cuts.append(library.cut(image, view, size, interpolation))
        wanted.append(library.render(image, view, size, interpolation))
    made = Cuts(cuts, size, interpolation, name).to(device)
    return np.array_equal(made.cpu().numpy(), np.stack(wanted))


def _tried_operations() -> list[tuple[tuple[str, float], ...]]:
    streams = [sample_stream(_SEED, number, "ops") for number in range(_TRIED)]
    return [draw(random, ops=2, magnitude=9.0, spread=0.5, probability=1.0) for random in streams]
