"""What a loss or student of one's own remembers from step to step, and no checkpoint holds: told once, at the second
step. A run that is continued would begin it anew, and be another run.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.training.learner import Learner

_KNOWN = {"distillkit", "torch", "torchvision", "timm", "open_clip", "transformers"}  # they keep what they need
_LAST = 4  # things at the end of a list or dict that are looked at: what grows or rotates changes there
_OF_MODULES = frozenset(vars(nn.Module()))
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


class Remembered:
    """What changes between the first and the second step of a run that `learner` makes, beside weights and buffers."""

    def __init__(self, learner: Learner):
        self._learner, self._before = learner, dict[str, str]()

    def after(self, step: int) -> list[str]:
        """The remarks on it, after step `step` (from 1): none but at the second, and of a run that began with the
        first. What is made at the first step, as a table that is kept, is no change.
        """
        if step == 1:
            self._before = {name: mark for name, mark, _ in self._marks()}
        if step != 2:
            return []
        before, self._before = self._before, {}
        return [
            f"{name}: changes at each step and is in no checkpoint: if a loss uses it, a continued run differs; {cure}"
            for name, mark, cure in self._marks()
            if before.get(name, mark) != mark
        ]

    def _marks(self) -> Iterator[tuple[str, str, str]]:
        """Of each plain attribute its name, what tells whether it changed, and what to do instead."""
        objective = self._learner.objective
        yield from _of("student", self._learner.student, ())
        for name, term in objective.terms.items():
            yield from _of(f"losses.{name}", term, objective.ramps[name])


def _of(whose: str, root: nn.Module, ramped: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for place, module in root.named_modules():
        if type(module).__module__.partition(".")[0] in _KNOWN:
            continue
        for name, value in vars(module).items():
            if name not in _OF_MODULES and (place or name not in ramped):
                yield ".".join(filter(None, (whose, place, name))), _mark(value), _cure(value)


def _cure(value: Any) -> str:
    if isinstance(value, _GENERATORS):
        return "draw by torch without a generator, which each step seeds anew"
    return "make it a buffer (self.register_buffer)"


def _mark(value: Any) -> str:
    """The same for the same content; of what is neither numbers nor holds any, its type alone."""
    if isinstance(value, bool | int | float | str | None):
        return repr(value)
    if isinstance(value, Tensor):
        kept = value.detach().cpu().contiguous()
        return _digest(kept.reshape(-1).view(torch.uint8).numpy().tobytes() if kept.numel() else b"", kept.shape)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return _digest(value.tobytes(), value.shape)
    if isinstance(value, torch.Generator):
        return _mark(value.get_state())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return repr(value.getstate())
    if isinstance(value, list | tuple | deque):
        return f"{len(value)}: {[_mark(one) for one in islice(reversed(value), _LAST)]}"
    if isinstance(value, dict):
        return f"{len(value)}: {[_mark(one) for one in islice(reversed(value.values()), _LAST)]}"
    return type(value).__name__


def _digest(content: bytes, shape: Any) -> str:
    return f"{tuple(shape)} {hashlib.sha256(content).hexdigest()}"
