"""Pictures whose pixels are the answers: a class or a depth each, one picture for each image, found by its key.

ROOT/KEY.png, where the image's key is KEY.jpg: grey of up to 16 bits, or colours of a palette, whose numbers are meant.
They are cut as the images are: the largest centred square, at `side` x `side` pixels, each the nearest one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from distillkit.errors import StoreError
from distillkit.evals._encode import OpenStore
from distillkit.evals._held import left_out
from distillkit.system.one_image import rows_of_images
from distillkit.system.opening import blame_the_file
from distillkit.system.paths import expand
from distillkit.system.wording import count

_PICTURE = re.compile(r"\.(jpe?g|jpe|jfif|mpo|a?png|webp|gif|bmp|tiff?|p[pgbnf]m)$", re.IGNORECASE)
_NUMBERS = ("L", "P", "1", "I", "I;16", "I;16B")  # modes of pictures whose pixels are one number each


class Masks:
    """The pictures of the images of a store, each once, below `root`; StoreError where one is not there.

    `but`: not of the images of this store, which are asked about while others are learned from; StoreError where these
    are all.
    """

    def __init__(self, store: Any, root: str, side: int, but: Any = None):
        self.root, self.side, self.store = Path(expand(root)), side, store.path
        self.rows = rows_of_images(store)
        if but is not None:
            self.rows = np.delete(self.rows, left_out(store, self.rows, but, rows_of_images(but)))
        self.keys: list[str] = store.index["key"].take(self.rows).to_pylist()
        lost = [key for key in self.keys if not self._path(key).is_file()]
        if lost:
            raise StoreError(
                f"{self._path(lost[0])}: there is no such picture; {len(lost):,} of {count(len(self.keys), 'image')} "
                f"of {store.path} without a mask below {self.root}, which must hold KEY.png for every key"
            )

    @property
    def files(self) -> list[Path]:
        """Where they are."""
        return [self._path(key) for key in self.keys]

    def of(self, places: np.ndarray) -> Int64[np.ndarray, "b side side"]:
        """The numbers of these images' pixels."""
        return np.stack([self._read(self._path(self.keys[place])) for place in places])

    def size_of(self, place: int) -> tuple[int, int]:
        """Width and height of this image's picture."""
        path = self._path(self.keys[place])
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise _unread(path, error) from error

    def look_through(self) -> None:
        """StoreError for the first that cannot be read."""
        for place in range(len(self.keys)):
            self.of(np.array([place]))

    def _path(self, key: str) -> Path:
        return self.root / f"{_PICTURE.sub('', key)}.png"

    def _read(self, path: Path) -> Int64[np.ndarray, "side side"]:
        try:
            with Image.open(path) as image:
                if image.mode not in _NUMBERS:
                    raise StoreError(
                        f"{path}: is {image.mode}, but a mask has one number for each pixel; save it as grey, or "
                        "with a palette"
                    )
                step = _step(image)
                return _square(np.asarray(image, np.int64) // step, self.side)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise _unread(path, error) from error


def _unread(path: Path, error: Exception) -> StoreError:
    blame_the_file(error, path)
    return StoreError(f"{path}: cannot be read as a picture ({error}); fetch it again")


def _step(image: Image.Image) -> int:
    """What Pillow makes of one level of grey: it stretches the 2 or 4 bits of a PNG's pixel to 0 to 255. To be asked
    before pixels are.
    """
    kinds = {tile[3] for tile in getattr(image, "tile", ())}
    return 85 if "L;2" in kinds else 17 if "L;4" in kinds else 1


def files_of_masks(measure: Any, open_store: OpenStore) -> dict[str, list[Path]]:
    """What a measure reads below its `train_masks` and `masks`: of the images that are learned from or asked alone."""
    store, side = open_store(measure.store), measure.side
    shown = Masks(open_store(measure.train), measure.train_masks, side, store)
    return {"train_masks": shown.files, "masks": Masks(store, measure.masks, side).files}


def any_stretched(measure: Any, open_store: OpenStore) -> bool:
    """Whether a measure reads masks that Pillow stretches, as older versions took them."""
    files = files_of_masks(measure, open_store) if hasattr(measure, "masks") else {}
    return any(_is_stretched(file) for file in dict.fromkeys(chain(*files.values())))


def _is_stretched(file: Path) -> bool:
    """By the header of a PNG: its bits, and the kind of its colours, of which 0 is grey."""
    with suppress(OSError), file.open("rb") as opened:
        header = opened.read(26)
        return header.startswith(b"\x89PNG") and header[24:] in (b"\x02\0", b"\x04\0")
    return False  # whoever reads it tells why


def _square(numbers: Int64[np.ndarray, "h w"], side: int) -> Int64[np.ndarray, "side side"]:
    height, width = numbers.shape
    whole = min(height, width)
    middle = (np.arange(side) + 0.5) * whole / side
    rows, columns = (((length - whole) / 2 + middle).astype(np.int64) for length in (height, width))
    return numbers[rows[:, None], columns]
