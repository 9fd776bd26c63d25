"""Pictures whose pixels are the answers: a class or a depth each, one picture for each image, found by its key.

ROOT/KEY.png, where the image's key is KEY.jpg: grey of up to 16 bits, or colours of a palette, whose numbers are meant.
They are cut as the images are: the largest centred square, at `side` x `side` pixels, each the nearest one.

Cameras write a photograph that was held upright as it lay, and how to turn it; networks see it turned. A mask that has
the size of the turned one is taken as it is; one that has the size of the pixels as they lie alone is turned, too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from distillkit.errors import StoreError
from distillkit.evals._encode import OpenStore, blank
from distillkit.evals._held import left_out
from distillkit.pixels.pillow import Header, header_of, header_of_file, how_held
from distillkit.system.one_image import rows_of_images
from distillkit.system.opening import blame_the_file
from distillkit.system.paths import expand
from distillkit.system.progress import hearer
from distillkit.system.wording import count

_PICTURE = re.compile(r"\.(jpe?g|jpe|jfif|mpo|a?png|webp|gif|bmp|tiff?|p[pgbnf]m)$", re.IGNORECASE)
_TURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda lying: lying,
    2: lambda lying: lying[:, ::-1],
    3: lambda lying: lying[::-1, ::-1],
    4: lambda lying: lying[::-1],
    5: lambda lying: lying.T,
    6: lambda lying: lying[::-1].T,
    7: lambda lying: lying[::-1, ::-1].T,
    8: lambda lying: lying[:, ::-1].T,
}  # by how the camera was held
_NUMBERS = ("L", "P", "1", "I", "I;16", "I;16B")  # modes of pictures whose pixels are one number each


class Masks:
    """The pictures of the images of a store, each once, below `root`; StoreError where one is not there.

    `but`: not of the images of this store, which are asked about while others are learned from; StoreError where these
    are all.
    """

    def __init__(self, store: Any, root: str, side: int, but: Any = None):
        self.root, self.side, self.store, self._store = Path(expand(root)), side, store.path, store
        self._held: dict[int, int] = {}  # of those that are turned as their images are
        self.unseen = 0  # how many of those that `lie_as` went through might lie otherwise than their images
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
        return np.stack([self._of(place) for place in places])

    def _of(self, place: int) -> Int64[np.ndarray, "side side"]:
        lying = _read(self._path(self.keys[place]))
        return _square(_TURN[self._held.get(place, 1)](lying), self.side)

    def size_of(self, place: int) -> tuple[int, int]:
        """Width and height of this image's picture, turned as its image is."""
        path = self._path(self.keys[place])
        try:
            with Image.open(path) as image:
                return Header(*header_of(image, path).upright, self._held.get(place, 1)).upright
        except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
            raise _unread(path, error) from error

    def lie_as(self, encode: Any, tell: bool = True) -> None:
        """Turn those that lie as the pixels in the files of their images do, and not as these are looked at. `encode`:
        who knows the files (EncodeTokens.headers); nothing is turned where nobody does. Told is which are of neither
        shape, and which nobody can tell of.
        """
        if blank(encode):  # whose numbers say nothing: no file is looked at for them
            return
        headers = getattr(encode, "headers", None)
        found = headers(self._store, self.rows) if headers else [None] * len(self.rows)
        strange, unseen = [], []
        for place, header in enumerate(found):
            size = self.size_of(place)
            if header is None:
                unseen += [place] if size[0] != size[1] else []  # a square is taken as it is
            elif not _fits(size, header.upright):
                if header.upright != header[:2] and _fits(size, header[:2]):
                    self._held[place] = header.held
                else:
                    strange.append((self._path(self.keys[place]), size, header.upright))
        self.unseen = len(unseen)
        say = hearer() if tell else None
        if strange and say is not None:
            path, size, image = strange[0]
            say(
                f"{self.root}: {len(strange):,} of {count(len(self.keys), 'mask')} of {self.store} have another shape "
                f"than their images, the first is {path} ({size[0]} x {size[1]}, its image {image[0]} x {image[1]}); "
                "the largest centred square of each is taken for that of the image: if it is not, make masks of the "
                "whole images"
            )
        if unseen and headers and say is not None:
            say(
                f"{self.root}: {len(unseen):,} of {count(len(self.keys), 'mask')} of {self.store} are taken as they "
                f"lie, the first is {self._path(self.keys[unseen[0]])}: their images are not there to tell how "
                "cameras held them; if some were turned, bring the images back and evaluate again"
            )

    @property
    def turned(self) -> int:
        """How many are turned as their images are."""
        return len(self._held)

    def look_through(self) -> None:
        """StoreError for the first that cannot be read."""
        for place in range(len(self.keys)):
            self.of(np.array([place]))

    def _path(self, key: str) -> Path:
        return self.root / f"{_PICTURE.sub('', key)}.png"


def _read(path: Path) -> Int64[np.ndarray, "h w"]:
    """The numbers of a mask's pixels, turned as its own file says."""
    try:
        with Image.open(path) as image:
            if image.mode not in _NUMBERS:
                raise StoreError(
                    f"{path}: is {image.mode}, but a mask has one number for each pixel; save it as grey, or with a "
                    "palette"
                )
            step = _step(image)
            image.load()  # of a TIFF that turns it
            return _TURN[how_held(image)](np.asarray(image, np.int64) // step)
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


def reads_masks(measure: Any) -> bool:
    """Whether a measure is one of those here that read masks: somebody's own may call other things so."""
    return all(hasattr(measure, name) for name in ("store", "masks", "train", "train_masks", "side"))


def files_of_masks(measure: Any, open_store: OpenStore) -> dict[str, list[Path]]:
    """What a measure reads below its `train_masks` and `masks`: of the images that are learned from or asked alone."""
    store, side = open_store(measure.store), measure.side
    shown = Masks(open_store(measure.train), measure.train_masks, side, store)
    return {"train_masks": shown.files, "masks": Masks(store, measure.masks, side).files}


def any_stretched(measure: Any, open_store: OpenStore) -> bool:
    """Whether a measure reads masks that Pillow stretches, as older versions took them."""
    files = files_of_masks(measure, open_store) if reads_masks(measure) else {}
    return any(_is_stretched(file) for file in dict.fromkeys(chain(*files.values())))


def any_turned(measure: Any, open_store: OpenStore, encode: Any) -> bool | None:
    """Whether a measure reads masks that are turned, by their own file or by their image's, as older versions did
    not; None where images that would tell are not there. `encode`: see Masks.lie_as.
    """
    store = open_store(measure.store)
    both = (
        Masks(open_store(measure.train), measure.train_masks, measure.side, store),
        Masks(store, measure.masks, measure.side),
    )
    found = [_any_turned(masks, encode) for masks in both]
    return True if True in found else None if None in found else False


def _any_turned(masks: Masks, encode: Any) -> bool | None:
    masks.lie_as(encode, tell=False)  # who measures does
    headers = (header_of_file(file) for file in masks.files)
    if masks.turned or any(header is not None and header.held != 1 for header in headers):
        return True
    return None if masks.unseen else False


def _fits(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask has an image's shape, be it smaller or larger: its sides may be rounded."""
    return abs(mask[0] * image[1] - mask[1] * image[0]) < sum(image)


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
