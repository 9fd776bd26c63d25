"""`kind` and its knobs: the part of a recipe that a file of a room answers to."""

from __future__ import annotations

import inspect
import math
import typing
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from distillkit.errors import RecipeError
from distillkit.recipe.own_kinds import built
from distillkit.recipe.registry import resolve
from distillkit.recipe.schema import Strict, validate

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Component(BaseModel):
    """`kind` and its knobs. `build` passes the run's own values first, then the knobs."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    kind: str

    @property
    def knobs(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})

    @property
    def called(self) -> str:
        """What it is in a few words: its model where that has a name, the sizes of its towers where it is a table."""
        model = self.knobs.get("model")
        if not isinstance(model, dict):
            return str(model or self.kind)
        towers = {"image": model.get("vision_cfg"), "text": model.get("text_cfg")}
        told = [
            f"{name} {tower['width']} x {tower['layers']}"
            for name, tower in towers.items()
            if isinstance(tower, dict) and {"width", "layers"} <= tower.keys()
        ]
        return " ".join([self.kind, *([f"({', '.join(told)})"] if told else [])])

    def build(self, room: str, *from_the_run: Any) -> Any:
        its = resolve(room, self.kind)
        if ":" in self.kind:
            return built(room, self.kind, its, from_the_run, self.knobs)
        return its(*from_the_run, **self.knobs)

    def check(self, room: str, where: str) -> None:
        """Refuse unknown, missing or wrongly typed knobs before anything is built."""
        validate(self._schema(room), self.knobs, f"{where}.{self.kind}")

    def _schema(self, room: str) -> Any:
        """A model of its knobs, which says of each what it may be."""
        constructor = resolve(room, self.kind).__init__  # type: ignore[misc]
        hints = typing.get_type_hints(constructor, include_extras=True)
        schema: Any = {
            name: (hints.get(name, Any), ... if parameter.default is inspect.Parameter.empty else parameter.default)
            for name, parameter in inspect.signature(constructor).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return create_model(self.kind, __config__=_STRICT, **schema)


class Ramp(Strict):
    """A knob that moves during training: from its own value at step `start` to `to` at step `stop`, then it stays."""

    to: float
    start: int = Field(0, ge=0)
    stop: int = Field(ge=0)
    shape: Literal["linear", "cosine", "step"] = "linear"

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.stop < self.start:
            raise ValueError(f"stop = {self.stop} lies before start = {self.start}")
        return self

    def at(self, step: int, value: float) -> float:
        """What a knob that began as `value` is at `step`."""
        done = min(max((step - self.start) / max(self.stop - self.start, 1), 0.0), 1.0)
        if self.shape == "step":
            done = float(step >= self.stop)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return value + (self.to - value) * done


class Term(Component):
    """A loss of the objective. `ramp = { weight = { to = 0.0, stop = 1000 } }` moves any of its numbers.

    `teacher`: which of `data.also` this term learns from, instead of the main one.
    """

    ramp: dict[str, Ramp] = {}
    teacher: str | None = None

    def check(self, room: str, where: str) -> None:
        super().check(room, where)
        parameters = inspect.signature(resolve(room, self.kind).__init__).parameters  # type: ignore[misc]
        for knob in self.ramp:
            if knob not in parameters:
                raise RecipeError(
                    f"{where}.{self.kind}: ramp of {knob!r}, which this kind does not have; leave that ramp out"
                )
        # A knob is on its way from one value that it may have to another; what counts has none between.
        moved = self.knobs | {knob: ramp.to for knob, ramp in self.ramp.items()}
        validate(self._schema(room), moved, f"{where}.{self.kind}: at the end of its ramp")
