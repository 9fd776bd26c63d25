"""How many batches are made while the student computes: beside a GPU two, on a CPU what is found to be faster.

On a CPU both want the same cores. Made ahead, a batch fills them where the student leaves them idle; but threads of a
student that wait for one that lost its core may cost it four times what the batch costs. Which it is depends on the
student, the cores and who else is there, so the first steps of a run try both. The batches are the same either way.
"""

from __future__ import annotations

from statistics import median

import torch

_MOST = 2
_WARMING, _TRIAL, _SETTLING = 3, 8, 3  # steps; the first of each trial still live on what the one before made
_TRIALS = 12  # none, some, none, some ...: a machine that is slow for a second must not decide


class Ahead:
    """A number for every step. `fixed`: the same for all of them; None: found by trying."""

    def __init__(self, fixed: int | None):
        self._fixed = fixed
        self._taken: dict[int, list[float]] = {0: [], _MOST: []}
        self._steps = 0

    def next(self) -> int:
        """For the step that begins now."""
        return self._tried() if self._fixed is None else self._fixed

    def took(self, seconds: float) -> None:
        """The step for which `next` was asked last: from its beginning to that of the one after it."""
        if self._fixed is not None:
            return
        place = self._steps - _WARMING
        if place >= 0 and place % _TRIAL >= _SETTLING:
            self._taken[self._tried()].append(seconds)
        self._steps += 1
        if self._steps == _WARMING + _TRIALS * _TRIAL:
            self._fixed = min(self._taken, key=lambda ahead: median(self._taken[ahead]))

    def _tried(self) -> int:
        trial = max(self._steps - _WARMING, 0) // _TRIAL
        return _MOST * (trial % 2)


def ahead_of(fixed: int | None, device: torch.device) -> int | None:
    """What `Ahead` is to be given: beside a GPU two, on a CPU what turns out to be faster, but for what is `fixed`."""
    return _MOST if fixed is None and device.type != "cpu" else fixed
