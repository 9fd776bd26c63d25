"""What an eval gave, looked at before it is kept: one that anybody wrote may give other rows than it has items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from distillkit.errors import RecipeError
from distillkit.evals._answers import Answers, How, Measure
from distillkit.evaluation.numbers import Numbers
from distillkit.system.wording import count

_WANTED = "let it return Answers, or a dict of numbers by their names"


def answered(name: str, given: Any) -> Numbers | list[Answers]:
    """Named numbers as floats, or answers as a list. RecipeError that names the eval and what is wrong with them."""
    if isinstance(given, Mapping):
        return {_name(name, key): _number(name, str(key), value) for key, value in given.items()}
    listed = [given] if isinstance(given, Answers) else list(given) if isinstance(given, Iterable) else None
    if not listed or not all(isinstance(one, Answers) for one in listed):
        raise RecipeError(f"evals.{name}: gives {given!r:.60}; {_WANTED}")
    if len({one.table for one in listed}) < len(listed):
        raise RecipeError(f"evals.{name}: gives several Answers of one name; give each a `table` of its own")
    return [_whole(name, one) for one in listed]


def _name(name: str, key: Any) -> str:
    if not isinstance(key, str | int | float):
        raise RecipeError(f"evals.{name}: calls a number {key!r:.60}, no text; {_WANTED}")
    return str(key)  # such as the k of a recall


def _number(name: str, key: str, value: Any) -> float:
    try:
        if not isinstance(value, str | bytes):
            return float(value)  # of a number of numpy or torch, too, and of an array of one
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several, as torch says it
        pass
    raise RecipeError(f"evals.{name}: gives {key} = {value!r:.60}, no number; {_WANTED}")


def _whole(name: str, one: Answers) -> Answers:
    """The same with arrays, each as long as it has items."""
    where, keys = f"evals.{name}", list(one.key)
    if strange := [key for key in keys if not isinstance(key, str)]:
        raise RecipeError(f"{where}: the key of an item is {strange[0]!r:.60}; let Answers.key be texts")
    columns = {str(column): _array(where, column, values) for column, values in one.columns.items()}
    beside = {part: value for part in ("target", "group", "best") if (value := getattr(one, part)) is not None}
    arrays = columns | {part: _array(where, part, value) for part, value in beside.items()}
    for part, values in arrays.items():
        if values.ndim == 0 or len(values) != len(keys):
            rows = count(len(values) if values.ndim else 0, "row")
            raise RecipeError(f"{where}: gives {rows} of {part!r} for {count(len(keys), 'item')}; give one for each")
        if values.dtype.kind not in "biuf":
            raise RecipeError(f"{where}: {part!r} holds {values.dtype}, no numbers; give an array of numbers")
    for measure in one.measures:
        _refuse_measure(where, measure, set(columns))
    others: dict[str, Any] = {part: arrays[part] for part in beside}
    return replace(one, key=keys, columns=columns, **others)


def _array(where: str, part: object, value: Any) -> np.ndarray:
    """Of a tensor on any device, too, which may have a gradient."""
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}: {part!r} is no array ({error}); give an array of numbers") from error


def _refuse_measure(where: str, measure: Measure, columns: set[str]) -> None:
    lacks = [column for column in (measure.column, measure.over) if column is not None and column not in columns]
    if lacks:
        have = ", ".join(sorted(columns)) or "nothing"
        raise RecipeError(
            f"{where}: measure {measure.name!r} is made of {lacks[0]!r}, it gives {have}; add that column"
        )
    if measure.how not in get_args(How):
        hows = ", ".join(get_args(How))
        raise RecipeError(f"{where}: measure {measure.name!r} is made by {measure.how!r}; choose one of {hows}")
