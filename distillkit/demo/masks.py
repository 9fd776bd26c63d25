"""What of a picture is figure, and what ground: the drawing's own alpha, as a mask for dense probing."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from PIL import Image

from distillkit.demo.drawings import HANDS, drawn_by
from distillkit.demo.images import drawn, image_path
from distillkit.system.atomic import atomic_folder, make_folder
from distillkit.system.workers import by_processes

SIZE = 64  # pixels of a side
_OPAQUE = 128  # of 255: what covers half of a pixel or more is figure


def write_masks(folder: Path, keys: list[str]) -> None:
    """Fill `folder` with a grey PNG for each picture of the first hand, by its key in stores: 1 is figure, 0 ground."""
    hand = HANDS[0]
    with atomic_folder(folder) as filling:
        make_folder(filling / hand)
        for _ in by_processes(partial(_write_mask, filling, hand), keys, drawn_by(hand, keys)):
            pass


def _write_mask(folder: Path, hand: str, key: str, drawing: Path) -> None:
    with Image.open(io.BytesIO(drawn(drawing, hand, SIZE))) as picture:
        alpha = picture.convert("RGBA").getchannel("A")
    alpha.point(lambda value: int(value >= _OPAQUE)).save(folder / image_path(key, hand), "PNG")
