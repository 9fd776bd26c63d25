"""numpy's files, as strangers may have made them: an array of numbers, or a ValueError of one line; and written."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Literal

import numpy as np

# What numpy's reader lets through of a header that is none: it is read as Python, by two parsers, and believed.
_DAMAGE = (SyntaxError, TokenError, EOFError, MemoryError, OverflowError, TypeError, KeyError, struct.error)


def load(file: Path | BinaryIO, mmap_mode: Literal["r", "c"] | None = None) -> np.ndarray:
    """The array of a .npy file; nothing in it is run. ValueError or OSError where there is none."""

    def loaded() -> np.ndarray:
        found = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise TypeError("an archive of arrays, not one array")
        return found

    return _refusing(loaded)


def load_all(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, likewise."""

    def loaded() -> dict[str, np.ndarray]:
        with np.load(file, allow_pickle=False) as held:
            return dict(held)

    return _refusing(loaded)


def save(file: BinaryIO, array: np.ndarray) -> None:
    """The bytes of `np.save`; but numpy writes to real files past Python, and its errors do not say what failed."""
    begin(file, array.dtype, array.shape)
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def begin(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """The header of an array whose rows, which follow, are written one after the other."""
    told = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, told)


def _refusing(load: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers that Python 2 wrote
            return load()
    except _DAMAGE as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"a damaged header: {type(error).__name__} {first}".strip()) from error
