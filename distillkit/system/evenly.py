"""A few of many rows, spread over all of them: nobody chooses, and the same ones every time."""

from __future__ import annotations

import numpy as np


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows (along the first axis), in order, at even distances from the first to the last."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
