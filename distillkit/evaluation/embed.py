"""Images of a store through a student: decoded by threads, embedded in batches, with a word on how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distillkit.callable import Say
from distillkit.errors import TrainError
from distillkit.originals import Originals
from distillkit.pixels import centre_view, render
from distillkit.pixels.room import room
from distillkit.system.device import Coming, pinned
from distillkit.system.progress import Progress

_AHEAD = 3  # batches that are decoded while a GPU computes
_BEHIND = 1  # batches that a GPU still computes while it is given the next


@dataclass(frozen=True)
class Pace:
    """With what a student is run: `device` (None: where it is), `threads` that decode, images in a `batch`.

    `autocast`: half precision, where the device has it; numbers then differ in the third digit. `say`: who hears of
    the progress; None: nobody.
    """

    device: torch.device | None = None
    threads: int = 1
    batch: int = 128
    autocast: bool = False
    say: Say | None = None

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """What a forward is done in."""
        kind = torch.bfloat16 if device.type == "cpu" else torch.float16
        return torch.autocast(device.type, dtype=kind, enabled=self.autocast)


@torch.inference_mode()
def embedded(student: Any, files: Originals, rows: np.ndarray, pace: Pace) -> Float[Tensor, "n d"]:
    """What the student says of the clean centre view of each row, raw, in float32, on the CPU."""
    device = next(student.parameters()).device
    said, coming = list[Tensor](), deque[Coming]()
    with Progress(f"{files.store.path}: images", len(rows), pace.say) as progress:
        for pixels in _batches(files, rows, student.image_size, pace, ahead=_AHEAD if device.type == "cuda" else 0):
            with pace.precision(device):
                there = pinned(pixels, device).to(device, non_blocking=True)
                coming.append(Coming({"image": _a_row_each(student, student.embed(there), len(pixels)).float()}))
            if len(coming) > _BEHIND:
                said.append(coming.popleft().here()["image"])
            progress.advance(len(pixels))
    return torch.cat([*said, *(one.here()["image"] for one in coming)])


def _a_row_each(student: Any, said: Any, images: int) -> Tensor:
    """What `embed` gave, [images, d]. TrainError where a student of one's own gives no row for each image, or one of
    another width than it names; who learns a class token alone need name none of "image".
    """
    width = student.widths.get("image")
    if isinstance(said, Tensor) and said.ndim == 2 and len(said) == images and width in (None, said.shape[1]):
        return said
    wanted = [images, "any width" if width is None else width]
    given = list(said.shape) if isinstance(said, Tensor) else type(said).__name__
    raise TrainError(
        f"students: {type(student).__name__}.embed gives {given} where {wanted} is wanted; let it return a tensor "
        "with a row for each image, as wide as `widths` says"
    )


@torch.inference_mode()
def embedded_tokens(
    student: Any, files: Originals, rows: np.ndarray, pace: Pace
) -> tuple[Float[Tensor, "n e"] | None, Float[Tensor, "n p e"] | None]:
    """What the student pools of the clean centre view of each row, and its patches; as `embedded`, without a word:
    these are few rows at a time, and who asks for them tells how far it is."""
    device, said = next(student.parameters()).device, []
    for pixels in _batches(files, rows, student.image_size, pace, ahead=_AHEAD if device.type == "cuda" else 0):
        with pace.precision(device):
            said.append(student.embed_tokens(pinned(pixels, device).to(device, non_blocking=True)))
    cls, patches = zip(*said, strict=True)
    return _joined(cls), _joined(patches)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part.float().cpu() for part in parts if part is not None]
    return torch.cat(there) if there else None


def _batches(
    files: Originals, rows: np.ndarray, size: int, pace: Pace, ahead: int
) -> Iterator[UInt8[Tensor, "b 3 h w"]]:
    """Pixels of the rows in order. Beside a GPU batches are made ahead; on a CPU all cores decode, then all compute."""

    def view(row: int) -> np.ndarray:
        with room():
            image, width, height = files.open(row)
            return render(image, centre_view(width, height), size)

    parts = iter(np.array_split(rows, max(len(rows) // pace.batch, 1)))
    with ThreadPoolExecutor(pace.threads) as pool:
        coming: deque[list[Future[np.ndarray]]] = deque()
        try:
            for part in parts:
                coming.append([pool.submit(view, int(row)) for row in part])
                if len(coming) > ahead:
                    yield _stacked(coming.popleft())
            while coming:
                yield _stacked(coming.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _stacked(views: list[Future[np.ndarray]]) -> UInt8[Tensor, "b 3 h w"]:
    return torch.from_numpy(np.stack([one.result() for one in views]))
