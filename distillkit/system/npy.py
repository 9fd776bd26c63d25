"""numpy's files, as strangers may have made them: an array of numbers, or a ValueError of one line."""

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


def _refusing(load: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers that Python 2 wrote
            return load()
    except _DAMAGE as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"a damaged header: {type(error).__name__} {first}".strip()) from error
