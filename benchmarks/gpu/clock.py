"""Time on a device: the work is begun, and waited for, as often as asked."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def here() -> torch.device:
    """The GPU, or the CPU for toy sizes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def waited() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], times: int = 1, rounds: int = 3) -> float:
    """Of one call: the median of some rounds of `times` calls, after one that is not counted."""
    work()
    waited()
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(times):
            work()
        waited()
        found.append((time.perf_counter() - begun) / times)
    return statistics.median(found)
