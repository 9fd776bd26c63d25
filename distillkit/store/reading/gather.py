"""Rows of a table into a tensor, by several threads that never wait for one that has not begun.

The rows are cut into pieces; the caller and its helpers take piece after piece, and whoever is not there when the last
is taken is not waited for. torch shares a gather out evenly instead, and when one of its threads has lost its core to
another process, all wait: with five such processes to a core it took thirty times as long as this does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

_PIECE = 3 << 17  # bytes: a tenth of a millisecond, twice what it takes to wake a thread
_helpers = ThreadPoolExecutor(os.cpu_count() or 1, "gather")


def gather(table: Tensor, rows: np.ndarray, out: Tensor) -> Tensor:
    """`table[rows]` into `out`, which is contiguous; rows, int64, must be there. As many threads as torch may use."""
    source, target = _as_numpy(table), _as_numpy(out)
    row_bytes = out.element_size() * math.prod(out.shape[1:])
    threads = min(torch.get_num_threads(), len(rows) * row_bytes // _PIECE)
    size = max(_PIECE // row_bytes, 1) if threads > 1 else len(rows)
    places = iter(range(0, len(rows), max(size, 1)))  # taking the next one is atomic
    others = [_helpers.submit(_copy, source, rows, target, places, size) for _ in range(threads - 1)]
    _copy(source, rows, target, places, size)
    for other in others:
        if not other.cancel():
            other.result()
    return out


def _copy(source: np.ndarray, rows: np.ndarray, target: np.ndarray, places: Iterator[int], size: int) -> None:
    for first in places:
        piece = slice(first, first + size)
        # "clip" is the mode that copies straight into `out`; there is nothing to clip.
        np.take(source, rows[piece], axis=0, out=target[piece], mode="clip")


def _as_numpy(table: Tensor) -> np.ndarray:
    return (table.view(torch.int16) if table.dtype == torch.bfloat16 else table).numpy()


def _new_helpers() -> None:
    global _helpers
    _helpers = ThreadPoolExecutor(os.cpu_count() or 1, "gather")


# Threads do not live on in a forked child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_helpers)
