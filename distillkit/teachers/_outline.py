"""What a teacher will give, told from its knobs and its configuration alone: its network is built on the meta device,
where it holds no numbers, and no weight is read.

So that a recipe that asks for something else is refused before gigabytes are fetched or loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec

import torch

from distillkit.teachers._frozen import FAILURES, quiet
from distillkit.teachers._hub import hub, is_all_in_a_folder

Knobs = ParamSpec("Knobs")


@dataclass(frozen=True)
class Outline:
    """`fields`, `dtypes` and `preprocess` as the loaded teacher has them; no preprocess where only it knows that."""

    fields: Mapping[str, list[int]]
    preprocess: Any = None
    dtypes: Mapping[str, str] = field(default_factory=dict)


class Untold(Exception):
    """What a teacher gives is known when it is loaded, and not before."""


def or_none(outline: Callable[Knobs, Outline]) -> Callable[Knobs, Outline | None]:
    """The same method, with None for what is untold."""

    @wraps(outline)
    def told(*args: Knobs.args, **knobs: Knobs.kwargs) -> Outline | None:
        try:
            return outline(*args, **knobs)
        except Untold:
            return None

    return told


@contextmanager
def outlining(name: str) -> Iterator[None]:
    """Within it networks are built without numbers; Untold where a library cannot, or lacks a configuration for it.

    `name`: of the network, by which the hub is asked or not.
    """
    try:
        with quiet(), hub(needed=not is_all_in_a_folder(name)), torch.inference_mode(), torch.device("meta"):
            yield
    except FAILURES as error:
        raise Untold from error
