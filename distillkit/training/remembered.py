"""What a loss or student of one's own remembers from step to step, and no checkpoint holds: told once, at the second
step. A run that is continued would begin it anew, and be another run.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distillkit.training.learner import Learner

_KNOWN = {"distillkit", "torch", "torchvision", "timm", "open_clip", "transformers"}  # they keep what they need
_LAST = 4  # things at the end of a list or dict that are looked at: what grows or rotates changes there
_DEEP = 3  # of such within each other; a list may hold itself
_MOST = 65_536  # numbers of a tensor that are looked at, from all over it: it may be a table of all images
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
            f"{name}: changes at each step and is in no checkpoint, so a run that is continued would differ, unless "
            f"each step makes it anew; {cure}"
            for name, mark, cure in self._marks()
            if before.get(name, mark) != mark
        ]

    def _marks(self) -> Iterator[tuple[str, str, str]]:
        """Of each plain attribute its name, what tells whether it changed, and what to do instead."""
        objective, model = self._learner.objective, self._learner.model
        kept = {id(one) for one in (*model.parameters(), *model.buffers())}
        yield from _of("student", self._learner.student, (), kept)
        for name, term in objective.terms.items():
            yield from _of(f"losses.{name}", term, objective.ramps[name], kept)


def _of(whose: str, root: nn.Module, ramped: Collection[str], kept: set[int]) -> Iterator[tuple[str, str, str]]:
    for place, module in root.named_modules():
        if type(module).__module__.partition(".")[0] in _KNOWN:
            continue
        for name, value in list(vars(module).items()):
            if name not in _OF_MODULES and (place or name not in ramped):
                yield ".".join(filter(None, (whose, place, name))), _seen(value, kept), _cure(value)


def _cure(value: Any) -> str:
    if isinstance(value, _GENERATORS):
        return "draw by torch without a generator, which each step seeds anew"
    return "make it a buffer (self.register_buffer)"


def _seen(value: Any, kept: Collection[int] = ()) -> str:
    """The mark of anything that a class of one's own may keep; of what cannot be looked at, its type alone."""
    try:
        return _mark(value, kept, _DEEP)
    except Exception:  # noqa: BLE001  (as of sparse tensors, or without data; no reason to end a run)
        return type(value).__name__


def _mark(value: Any, kept: Collection[int], deep: int) -> str:
    """The same for the same content; of what is neither numbers nor holds any, its type alone.

    So of a tensor that checkpoints have, by its `id`, under another name; and of one that leads back to weights: it was
    kept to be looked at, and no step could go on from it.
    """
    if isinstance(value, bool | int | float | str | None):
        return repr(value)
    if isinstance(value, Tensor) and value.grad_fn is None and id(value) not in kept:
        kept = value.detach()[_some(value.shape)].cpu().contiguous()
        return _digest(kept.reshape(-1).view(torch.uint8).numpy().tobytes() if kept.numel() else b"", value.shape)
    if isinstance(value, np.ndarray) and not isinstance(value, np.memmap) and not value.dtype.hasobject:
        return _digest(value[_some(value.shape)].tobytes(), value.shape)
    if isinstance(value, torch.Generator):
        return _mark(value.get_state(), kept, deep)
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return repr(value.getstate())
    if isinstance(value, list | tuple | deque | dict):
        held = reversed(value.values() if isinstance(value, dict) else value)
        return f"{len(value)}: {[_mark(one, kept, deep - 1) for one in islice(held, _LAST)] if deep else []}"
    return type(value).__name__


def _some(shape: Sequence[int]) -> tuple[slice, ...]:
    """Where at most about _MOST numbers of an array lie, rows rather than columns."""
    over, steps = -(-math.prod(shape) // _MOST), list[slice]()
    for size in reversed(shape):
        step = max(1, min(over, size))
        steps.insert(0, slice(None, None, step))
        over = -(-over // step)
    return tuple(steps)


def _digest(content: bytes, shape: Any) -> str:
    return f"{tuple(shape)} {hashlib.sha256(content).hexdigest()}"
