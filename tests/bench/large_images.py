"""What a corpus of images near the pixel limit takes: peak memory of decoding them, above what was there."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from distillkit.pixels import decode, room
from distillkit.pixels.pillow import MAX_PIXELS
from distillkit.system.cpu import settle
from tests.bench.measure import Row, at_most

_GOAL = 1.5  # GiB
_DECODERS = 8


def run(folder: Path, quick: bool) -> list[Row]:
    """In a process of its own: what others left in this one would hide what is taken."""
    count, side = (3, 800) if quick else (200, int(MAX_PIXELS**0.5) - 1)
    path = folder / "large.jpg"
    _draw(side).save(path, quality=50)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(_peak, (path, count, None if quick else int(_GOAL * 2**30 * 0.9)))
    name = f"peak memory of {count} images of {side * side / 1e6:,.0f} megapixels, {_DECODERS} decoders"
    return [at_most(name, [max(peak, 1) / 2**30], _GOAL, "GiB")]


def _draw(side: int) -> Image.Image:
    """A gradient with a little noise: quick to write, and no flat picture."""
    row = np.linspace(0, 255, side).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(row[None, :, None], (side, side, 3)).copy())


def _peak(path: Path, count: int, memory: int | None) -> int:
    """Bytes by which private memory grew at most, under the settings of the commands."""
    settle()
    room.limit_to(memory)

    def look(_: int) -> None:
        with room.room():
            decode(path).resize((224, 224))

    before, most, done = _private(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], _private())

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(_DECODERS) as pool:
        list(pool.map(look, range(count)))
    done.set()
    watching.join()
    return most[0] - before


def _private() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
