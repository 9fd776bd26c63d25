"""What the image files behind a shard were when they were read, so that those that are others by now can be found.

stamps/<shard>.npy   a record a row: bytes, time (of the last change, ns since 1970) and content (the first 8 bytes of
                     the file's sha256, as a number); bytes is -1 where the image is no file, or the row failed

                     Behind the array is the sha256 of all before it, 32 bytes, as the file may be written anew while a
                     store stands: no checksum elsewhere could follow. Older files have none.

No part of the store: readers need none of it, and of a store without it nothing is known.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distillkit.errors import StoreError
from distillkit.system import npy
from distillkit.system.atomic import atomic_file, remove_file
from distillkit.system.opening import blame_the_file

FOLDER = "stamps"
KIND = np.dtype([("bytes", "<i8"), ("time", "<i8"), ("content", "<u8")])
_SMALL = 16 * 2**20  # bytes of a file that every decoding thread may hold beside what it decodes


class Stamp(NamedTuple):
    """A file as it was."""

    bytes: int
    time: int
    content: int


NONE = Stamp(-1, 0, 0)


def blank(rows: int) -> np.ndarray:
    """Of so many rows nothing is known."""
    return np.full(rows, np.array(tuple(NONE), KIND))


def read_stamped(path: Path) -> tuple[bytes | Path, Stamp] | None:
    """A whole file and its stamp; of a large one its path, to be read when there is memory for what is in it. None
    where it is not there, or cannot be read.

    The time is asked before the bytes: what is written meanwhile is another file later.
    """
    try:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if before.st_size > _SMALL:
                return path, Stamp(before.st_size, before.st_mtime_ns, _short(hashlib.file_digest(file, "sha256")))
            data = file.readall()
    except OSError as error:
        blame_the_file(error, path)
        return None
    return data, Stamp(len(data), before.st_mtime_ns, _short(hashlib.sha256(data)))


def _short(sha256: Any) -> int:
    """8 bytes of it: enough to tell whether one file is still the same."""
    return int.from_bytes(sha256.digest()[:8], "little")


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def place(shard: int) -> str:
    """Where the stamps of a shard lie, below its store."""
    return f"{FOLDER}/{shard:05d}.npy"


def keep(folder: Path, shard: int, stamps: np.ndarray | None, ours: Callable[[], object] = lambda: None) -> None:
    """In place of what was kept of this shard before; where no row has one, nothing is kept. `ours` may refuse."""
    path = folder / place(shard)
    if stamps is None or not (stamps["bytes"] >= 0).any():
        remove_file(path, ours)
        return
    held = io.BytesIO()
    np.save(held, stamps, allow_pickle=False)
    with atomic_file(path, within=folder) as file:
        file.write(held.getvalue())
        file.write(_sha256(held.getvalue()))
        ours()


def kept(folder: Path, shard: int, rows: int) -> np.ndarray | None:
    """The stamps of a shard of `rows` rows; None where none are. StoreError where they are damaged."""
    path = folder / place(shard)
    try:
        content = path.read_bytes()
        found = npy.load(file := io.BytesIO(content))
        said = content[file.tell() :]  # nothing in an older file
        if found.dtype == KIND and found.shape == (rows,) and said in (b"", _sha256(content[: file.tell()])):
            return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        blame_the_file(error, path)
    raise StoreError(f"{path}: damaged; delete it: then nothing is known of these images, and the store stays whole")
