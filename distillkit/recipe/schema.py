"""Checked values, and refusals in one line that name the place and the nearest right word."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distillkit.errors import RecipeError

Made = TypeVar("Made", bound=BaseModel)


# The most of anything that a recipe counts: what is more was mistyped, and libraries count in 32 bits.
MOST = 2**31 - 1

# Pixels of a side, numbers of a vector.
Side = Annotated[int, Field(gt=0, le=2**13)]
Width = Annotated[int, Field(gt=0, le=2**16)]
# What is divided by, and what cosines are multiplied by.
Temperature = Annotated[float, Field(gt=0)]
Scale = Annotated[float, Field(gt=0)]
# How many of the best; a part of what is there, and one that leaves some of it.
Count = Annotated[int, Field(gt=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def validate(model: type[Made], content: Any, where: str) -> Made:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RecipeError(_one_line(model, error, where)) from error
    except RecipeError as error:  # of a component within, which knows its place and not the recipe's file
        raise RecipeError(f"{where}: {error}") from error


def _one_line(model: type[BaseModel], error: ValidationError, where: str) -> str:
    """The first problem of a validation, as `where: place: what is wrong, did you mean ...?`"""
    # A key nobody knows first: the one that is missing is often the one that was misspelt.
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = _spelled(problem["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        parent, _, key = place.rpartition(".")
        known = _known_keys(model, problem["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        near = near or [path for path in _paths(model) if means(key, path.rpartition(".")[2])]
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        if near == [key]:  # a path of one part: it is right, and in the wrong table
            hint = "it belongs at the top of the recipe, above its tables"
        return f"{where}: {parent + ': ' if parent else ''}unknown key {key!r}, {hint}{more}"
    if problem["type"] == "missing":
        return f"{where}: {place!r} is missing{more}"
    at = problem["loc"][:-1] if _is_branch(model, problem["loc"]) else problem["loc"]
    # Of a knob that may be one of several types, each says what it would take.
    wrong = [one for one in error.errors() if one["loc"][: len(at)] == at] if at != problem["loc"] else [problem]
    said = list(dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in wrong))
    message = ", or ".join([said[0], *(one.removeprefix("Input should be ") for one in said[1:])])
    more = f" (and {error.error_count() - len(wrong)} more)" if error.error_count() > len(wrong) else ""
    place = _spelled(at)
    # What is said of a whole table tells which of its values are meant; the first of them that come tell nothing.
    got = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r:.80})"
    return f"{where}: {place + ': ' if place else ''}{message}{got}{more}"


def _spelled(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _is_branch(model: type[BaseModel], location: tuple[int | str, ...]) -> bool:
    """Whether the last part of a location is no place, but one of the types that the knob there may have."""
    if not location or isinstance(location[-1], int):
        return False
    for part in location[:-1]:
        knob = None if isinstance(part, int) else model.model_fields.get(part)
        if knob is None:
            continue
        inner = next(models(knob.annotation), None)
        if inner is None:
            union = typing.get_origin(knob.annotation) in (typing.Union, types.UnionType)
            return union and len(set(typing.get_args(knob.annotation)) - {type(None)}) > 1
        model = inner
    return False


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    named = False  # whether the next part is the name of an entry, which the recipe chose: `also.b`, `ramp.weight`
    for part in location:
        if named or isinstance(part, int):
            named = False
            continue
        annotation = model.model_fields[part].annotation
        model, named = next(models(annotation)), typing.get_origin(annotation) is dict
    return list(model.model_fields)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a knob may hold: itself, or within a list, or beside None."""
    for kind in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield kind


def _paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every knob below a model, as `optim.lr`; those of components are their own."""
    for name, knob in model.model_fields.items():
        yield above + name
        for inner in models(knob.annotation):
            yield from _paths(inner, f"{above}{name}.")


def means(written: str, known: str) -> bool:
    """Whether a key was meant that stands elsewhere, or is short for it: `learning_rate` is `lr`."""
    words = written.lower().replace("-", "_").split("_")
    return known in ("_".join(words), "".join(word[:1] for word in words if word) if words[1:] else None)
