"""Many questions to a network, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

BATCH = 32


def in_batches(
    questions: Sequence[Any], ask: Callable[[list[Any]], Any], at_once: int = BATCH
) -> Float[np.ndarray, "n d"]:
    """What `ask` says of parts, as one array in float32."""
    parts = range(0, len(questions), at_once)
    said = [ask([questions[place] for place in range(first, min(first + at_once, len(questions)))]) for first in parts]
    return np.concatenate([np.asarray(one, np.float32) for one in said])
