"""Who makes pixels of an image: Pillow, or PyTorch's own decoder and resizing. A recipe names one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from distillkit.pixels import decode, render
from distillkit.pixels.tensors import decode_tensor, from_array, render_tensor


class Resample(NamedTuple):
    """`decode` makes an image of bytes, `from_array` of rows of pixels; `size` is its width and height.

    `interleaved`: rendered pixels lie as in images, the colours of each together, and so a batch of them should.
    """

    decode: Callable[[Any], Any]
    from_array: Callable[[np.ndarray], Any]
    size: Callable[[Any], tuple[int, int]]
    render: Callable[..., np.ndarray]
    interleaved: bool


RESAMPLE = {
    "pillow": Resample(decode, Image.fromarray, lambda image: image.size, render, False),
    "torchvision": Resample(
        decode_tensor, from_array, lambda image: (image.shape[2], image.shape[1]), render_tensor, True
    ),
}
