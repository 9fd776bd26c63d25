"""Views cut out of their images and not resized yet, a batch of them in one piece of memory: what a device is handed.

Decoding and cutting out is work for threads; the resizing (`resizing`) is done where the batch goes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from distillkit.pixels.mixing import Mix
from distillkit.pixels.operations import Operations, applied
from distillkit.pixels.resizing import SUPPORT, Axes, Axis, Crops, Rounding, resized
from distillkit.pixels.tensors import whole_box
from distillkit.system.device import pinned
from distillkit.types import View

# A cut-out of more than so many times the wanted pixels, or of such a side, costs less to shrink than to carry.
_MOST_AREA, _MOST_SIDE = 4, 4


@dataclass(frozen=True, slots=True)
class Cut:
    """What a view needs of an image, and where its box lies along each side of the image.

    `turned`: rows and columns have changed places, for resizing to begin with what were the columns. `ops`: those of
    the view.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    across: Axis
    down: Axis
    flip: bool = False
    turned: bool = False
    ops: Operations = ()

    def fits(self, size: int) -> bool:
        """Whether it is better resized on a device than by the thread that cut it out."""
        height, width, _ = self.pixels.shape
        return height * width <= _MOST_AREA * size * size and max(height, width) <= _MOST_SIDE * size


def finished(pixels: UInt8[np.ndarray, "3 s s"]) -> Cut:
    """What is rendered already, as a cut-out that resizing leaves as it is."""
    size = pixels.shape[1]
    whole = Axis(0.0, float(size), size, 0)
    return Cut(pixels.transpose(1, 2, 0), whole, whole)


def cut_pillow(image: Image.Image, view: View, size: int, interpolation: str) -> Cut:
    """Pillow's boxes are float32, its filters look beyond them, and of what is tall it shrinks the columns first."""
    left, top, right, bottom = view.box
    across, right_end = _reaching(left, right, image.width, size, interpolation)
    down, bottom_end = _reaching(top, bottom, image.height, size, interpolation)
    part = image.crop((across.origin, down.origin, right_end, bottom_end))
    if image.height > size and image.height - size > 2 * (image.width - size):
        return Cut(np.asarray(part).transpose(1, 0, 2), down, across, view.flip, turned=True, ops=view.ops)
    return Cut(np.asarray(part), across, down, view.flip, ops=view.ops)


def _reaching(low: float, high: float, length: int, size: int, interpolation: str) -> tuple[Axis, int]:
    """A side of a box, from the first pixel of the image that its resizing looks at, and the one after the last."""
    first, last = np.float32(low * length), np.float32(high * length)
    span = float(last - first)
    reach = SUPPORT[interpolation] * max(span / size, 1.0) + 1
    origin, end = max(int(first - reach), 0), min(int(last + reach) + 1, length)
    return Axis(float(first), span, length, origin), end


def cut_tensor(image: UInt8[Tensor, "3 h w"], view: View, size: int, interpolation: str) -> Cut:
    """A box of whole pixels, which is resized as if it were an image by itself."""
    piece, across, down = piece_of(image, view)
    return Cut(piece.numpy(), across, down, view.flip, ops=view.ops)


def piece_of(image: UInt8[Tensor, "3 h w"], view: View) -> tuple[UInt8[Tensor, "h w 3"], Axis, Axis]:
    """The box of a view, and that it is an image by itself."""
    left, top, right, bottom = whole_box(view, image.shape[2], image.shape[1])
    across, down = (Axis(0.0, float(side), side, 0) for side in (right - left, bottom - top))
    return image[:, top:bottom, left:right].permute(1, 2, 0), across, down


class Layout:
    """Where crops of these heights and widths lie, one behind the other, and how each is resized and turned."""

    def __init__(
        self,
        shapes: np.ndarray,
        sides: list[tuple[Axis, Axis, bool, bool]],
        size: int,
        interpolation: str,
        name: Rounding,
    ):
        self.size, self.interpolation, self.rounding = size, interpolation, name
        self.heights, self.ends = shapes[:, 0], shapes.prod(1).cumsum()
        self.begins = self.ends - shapes.prod(1)
        numbers = np.array([(*across, *down, flip, turned) for across, down, flip, turned in sides], np.float64)
        self.facts = torch.from_numpy(np.ascontiguousarray(np.column_stack([self.begins, shapes[:, 1], numbers]).T))
        self.most = float(numbers[:, 1].max()), float(numbers[:, 5].max())
        self.any_turned = bool(numbers[:, 9].any())
        begins, spans = numbers[:, [0, 4]], numbers[:, [1, 5]]
        self.as_they_are = bool((shapes == size).all() and (begins == 0).all() and (spans == size).all())

    def render(self, flat: UInt8[Tensor, "pixels 3"]) -> UInt8[Tensor, "n 3 s s"]:
        """The crops in `flat` at their final size, on the device where they are."""
        facts = pinned(self.facts, flat.device).to(
            flat.device, non_blocking=True
        )  # whole numbers in float64 stay what they are
        begins, widths, *sides, flips, turned = facts
        across, down = (
            Axes(begin, span, length.long(), origin.long()) for begin, span, length, origin in (sides[:4], sides[4:])
        )
        crops = Crops(flat, begins.long(), widths.long(), across, down)
        if self.as_they_are:
            shown = flat.view(-1, self.size, self.size, 3)
        else:
            shown = resized(crops, self.heights, self.most, self.size, self.interpolation, self.rounding)
        if self.any_turned:
            shown = torch.where(turned.bool()[:, None, None, None], shown.transpose(1, 2), shown)
        shown = torch.where(flips.bool()[:, None, None, None], shown.flip(2), shown).permute(0, 3, 1, 2)
        # As the library gives them: beyond the same bytes, the same order in memory.
        return shown.contiguous() if self.rounding == "pillow" else shown


class Cuts:
    """A batch of cut-outs; `to` makes its pixels, mixed where a mix is given, on the device that is named.

    `pin`: for a GPU, in memory that it copies out of while everybody goes on.
    """

    def __init__(
        self,
        cuts: Sequence[Cut],
        size: int,
        interpolation: str,
        rounding: Rounding,
        pool: Executor | None = None,
        mix: Mix | None = None,
        pin: bool = False,
    ):
        self.mix, self.ops = mix, [cut.ops for cut in cuts]
        shapes = np.array([cut.pixels.shape[:2] for cut in cuts])
        sides = [(cut.across, cut.down, cut.flip, cut.turned) for cut in cuts]
        self.layout = Layout(shapes, sides, size, interpolation, rounding)
        begins, ends = self.layout.begins, self.layout.ends
        self.flat = torch.empty(int(ends[-1]), 3, dtype=torch.uint8, pin_memory=pin)
        table = self.flat.numpy()

        def pack(number: int) -> None:
            table[begins[number] : ends[number]].reshape(*shapes[number], 3)[:] = cuts[number].pixels

        _ = list((pool.map if pool else map)(pack, range(len(cuts))))

    def to(self, device: torch.device) -> UInt8[Tensor, "b 3 s s"]:
        """The pixels, on a device."""
        shown = self.layout.render(self.flat.to(device, non_blocking=True))
        shown = applied(shown, self.ops) if any(self.ops) else shown
        return self.mix(shown) if self.mix else shown
