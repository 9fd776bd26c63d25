"""What a step changes and no checkpoint keeps: refused, or told, at the first step, when nothing is lost yet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distillkit.students._count import image_macs, text_macs
from distillkit.students._state import refuse_grown, refuse_unkept, shapes_of
from distillkit.training.reached import unreached


def refuse_what_is_not_kept(student: Any, objective: nn.Module) -> None:
    """RecipeError, before the first step, where a student or a loss has state that no checkpoint could hold.

    Lazy modules of the student get their shapes here, by the seed that it was built with, on every rank.
    """
    if None in shapes_of(student).values():
        image_macs(student)
        text_macs(student)
    refuse_unkept(student, "student")
    refuse_unkept(objective, "losses")


class Watch:
    """What a model is before its first step, to be compared with what it is after the forward and backward of it."""

    def __init__(self, model: nn.ModuleDict):
        self.model = model
        self.terms: Any = model["objective"].terms
        self.shapes = {whose: shapes_of(model[part]) for part, whose in _PARTS.items()}
        self.loose = {name: value.detach().clone() for name, value in _loose(model).items()}

    def remarks(self) -> list[str]:
        """A line on buffers that move and are not kept, and on weights that nothing reaches. RecipeError for what was
        made in the step.
        """
        for part, whose in _PARTS.items():
            refuse_grown(self.model[part], self.shapes[whose], whose)
        moved = [
            name.partition(".") for name, value in _loose(self.model).items() if not _same(value, self.loose.get(name))
        ]
        return [
            f"{_PARTS[part]}: buffer {name!r} moves in a step, but has persistent=False: neither"
            " checkpoints nor the student's weights have it, and a run that goes on begins it anew; leave "
            "persistent out unless it is made again at every use"
            for part, _, name in moved
        ] + [*unreached("student", self.model["student"]), *unreached("losses", self.terms)]


_PARTS = {"student": "student", "objective": "losses"}


def _loose(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that no state_dict has."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules()
        if path.partition(".")[0] in _PARTS
        for name, value in module.named_buffers(recurse=False)
        if name in module._non_persistent_buffers_set
    }


def _same(now: Tensor, before: Tensor | None) -> bool:
    """Whether it stands as it was; one that was given another size is a cache, made anew where it is too short."""
    return before is None or now.shape != before.shape or torch.equal(now, before)
