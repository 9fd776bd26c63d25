"""Decoded images of a store as squares on disk: decode photographs once, then crop what is small already.

STORE.pixels-256/pixels.npy        uint8 [rows, 256, 256, 3], mapped: nothing is left to decode
STORE.pixels-256-jpeg/pixels.jpg   the squares as JPEGs, one behind the other; ends.npy says where each ends
                     shapes.npy    int32 [rows, 2]: width and height of the image when it was whole
                     cache.json    what it was made of

An image is squeezed to size x size whatever its aspect; a view's box is relative, so crops keep their true shape.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from distillkit.callable import Say
from distillkit.errors import SourceError, StoreError
from distillkit.originals import Originals
from distillkit.pixels import render
from distillkit.pixels.room import room
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import npy
from distillkit.system.atomic import atomic_folder, parsed_json, write_json
from distillkit.system.locks import locked
from distillkit.system.progress import Progress
from distillkit.system.turns import lock_of
from distillkit.system.wording import one_line
from distillkit.types import View

Format = Literal["raw", "jpeg"]
Square = UInt8[np.ndarray, "s s 3"]

_QUALITY = 95
_AT_ONCE = 4096  # images on their way into a cache


class Cached:
    """The same images from the pixel cache beside the store, which is made on first use."""

    def __init__(
        self, store: FeatureStore, files: Originals, size: int, form: Format, workers: int, say: Say | None = None
    ):
        self.resample, self.form = files.resample, form
        folder = place(store, size, form)
        if not exists(store, size, form):
            with locked(lock_of(folder), leave=False):
                if not exists(store, size, form):  # another run may have made it meanwhile
                    _make(store, files, size, form, workers, say)
        self.folder = folder
        try:
            self.shapes = _mapped(folder / "shapes.npy", np.int32, (len(store), 2))
            if form == "raw":
                # Tensors want it writeable.
                self.pixels = _mapped(folder / "pixels.npy", np.uint8, (len(store), size, size, 3), "c")
            else:
                self.ends = _mapped(folder / "ends.npy", np.int64, (len(store) + 1,))
                self.pixels = np.memmap(folder / "pixels.jpg", np.uint8, mode="r")
        except (FileNotFoundError, ValueError) as error:
            raise _damaged(folder, one_line(error)) from error

    def open(self, row: int) -> tuple[Any, int, int]:
        """An image as its square, and the width and height it had when it was whole."""
        width, height = self.shapes[row].tolist()
        if width < 1 or height < 1:
            raise _damaged(self.folder, f"row {row} is {width} x {height}")
        if self.form == "raw":
            return self.resample.from_array(self.pixels[row]), width, height
        first, end = self.ends[row].item(), self.ends[row + 1].item()
        if not 0 <= first < end <= len(self.pixels):
            raise _damaged(self.folder, f"row {row} begins at {first} and ends at {end} of {len(self.pixels)} bytes")
        return self._decoded(row, self.pixels[first:end].tobytes()), width, height

    def _decoded(self, row: int, written: bytes) -> Any:
        try:
            return self.resample.decode(written)
        except SourceError as error:
            raise _damaged(self.folder, f"row {row}: {error}") from error


class Sampled:
    """What a pixel cache would give, without one: of whichever row, one of a few images, in memory."""

    def __init__(self, made: Sequence[tuple[Square | bytes, tuple[int, int]]], resample: Any):
        self.made, self.resample = made, resample

    def open(self, row: int) -> tuple[Any, int, int]:
        kept, (width, height) = self.made[row % len(self.made)]
        image = self.resample.decode(kept) if isinstance(kept, bytes) else self.resample.from_array(kept)
        return image, width, height


def _mapped(path: Path, dtype: type, shape: tuple[int, ...], mode: Literal["r", "c"] = "r") -> np.ndarray:
    """ValueError for an array of others."""
    found = npy.load(path, mode)
    if found.dtype != dtype or found.shape != shape:
        raise ValueError(f"{path.name} is {found.dtype} {list(found.shape)}, not {np.dtype(dtype)} {list(shape)}")
    return found


def _damaged(folder: Path, why: str) -> StoreError:
    return StoreError(f"{folder}: a damaged cache ({why}); delete it, and the next run makes it again")


def place(store: FeatureStore, size: int, form: Format) -> Path:
    """The folder of a cache."""
    return store.path.with_name(f"{store.path.name}.pixels-{size}{'' if form == 'raw' else '-jpeg'}")


def exists(store: FeatureStore, size: int, form: Format) -> bool:
    """Whether there is such a cache, of this very store."""
    record = place(store, size, form) / "cache.json"
    try:
        return record.is_file() and parsed_json(record.read_bytes()) == _facts(store, size, form)
    except ValueError:
        return False  # damaged: it is made again


def _make(store: FeatureStore, files: Originals, size: int, form: Format, workers: int, say: Say | None) -> None:
    folder = place(store, size, form)
    # A cache of another store is no data of anyone's: it can be made again from the images at any time.
    shutil.rmtree(folder, ignore_errors=True)
    fill = _fill_raw if form == "raw" else _fill_jpeg
    with (
        atomic_folder(folder) as partial,
        ThreadPoolExecutor(workers) as pool,
        Progress(f"{folder}: images", len(store.ok_rows), say) as progress,
    ):
        fill(partial, store, Originals(store, files.root), size, pool, progress)
        write_json(partial / "cache.json", _facts(store, size, form))


def squeeze(files: Originals, row: int, size: int) -> tuple[Square, tuple[int, int]]:
    """An image as a square, and its width and height. `files` are opened by Pillow."""
    with room():
        image, width, height = files.open(row)
        return np.ascontiguousarray(render(image, View(), size).transpose(1, 2, 0)), (width, height)


def to_jpeg(square: Square) -> bytes:
    """What a cache keeps of a square."""
    made = io.BytesIO()
    Image.fromarray(square).save(made, "JPEG", quality=_QUALITY, subsampling=0)  # colours of small pictures are fine
    return made.getvalue()


def _facts(store: FeatureStore, size: int, form: Format) -> dict[str, object]:
    return {"store": store.digest, "size": size} | ({} if form == "raw" else {"jpeg": _QUALITY})


def _fill_raw(
    partial: Path, store: FeatureStore, files: Originals, size: int, pool: ThreadPoolExecutor, progress: Progress
) -> None:
    pixels = _table(partial / "pixels.npy", np.uint8, (len(store), size, size, 3))
    shapes = _table(partial / "shapes.npy", np.int32, (len(store), 2))
    for row, (square, shape) in _of_all(store, lambda row: squeeze(files, row, size), pool):
        pixels[row], shapes[row] = square, shape
        progress.advance(1)
    pixels.flush()
    shapes.flush()


def _fill_jpeg(
    partial: Path, store: FeatureStore, files: Originals, size: int, pool: ThreadPoolExecutor, progress: Progress
) -> None:
    def written(row: int) -> tuple[bytes, tuple[int, int]]:
        square, shape = squeeze(files, row, size)
        return to_jpeg(square), shape

    ends = _table(partial / "ends.npy", np.int64, (len(store) + 1,))
    shapes = _table(partial / "shapes.npy", np.int32, (len(store), 2))
    filled = 0  # ends up to this one are set; rows without an image are empty
    with (partial / "pixels.jpg").open("wb") as file:
        for row, (data, shape) in _of_all(store, written, pool):
            ends[filled + 1 : row + 1] = ends[filled]
            file.write(data)
            filled = row + 1
            ends[filled], shapes[row] = file.tell(), shape
            progress.advance(1)
    ends[filled + 1 :] = ends[filled]
    ends.flush()
    shapes.flush()


def _of_all(store: FeatureStore, make: Callable[[int], Any], pool: ThreadPoolExecutor) -> Iterator[tuple[int, Any]]:
    """What threads make of every usable row, in order."""
    rows = store.ok_rows.tolist()
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        yield from zip(some, pool.map(make, some), strict=True)


def _table(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """A mapped array with its room on the disk taken: written through a mapping, a full disk would end the process."""
    table = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return table
