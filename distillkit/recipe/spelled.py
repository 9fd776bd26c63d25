"""How types and values are spelled in TOML, which recipes are: `true`, `"both" or "rows"`, `[0.9, 1.0]`."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from distillkit.recipe.component import Component
from distillkit.recipe.schema import MOST

_WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "table",
    list: "list",
    Any: "any value",
}
_BOUNDS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))


def spelled(kind: Any, rules: Iterable[Any]) -> str:
    """A type in words; `rules` are pydantic's bounds of it."""
    bounds = [
        f"{word} {limit:g}"
        for rule in rules
        for name, word in _BOUNDS
        if (limit := getattr(rule, name, None)) is not None and limit != MOST
    ]
    return ", ".join([_bare(kind), *bounds])


def _bare(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        rules = [rule for outer in inner[1:] for rule in (outer.metadata if hasattr(outer, "metadata") else [outer])]
        return spelled(inner[0], rules)
    if origin is Literal:
        return " or ".join(json.dumps(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_bare(one) for one in inner if one is not type(None))
    if origin is dict:
        return f"table of {_several(inner[1])}"
    if origin is list:
        return f"list of {_several(inner[0])}"
    if origin is tuple:
        return f"list of {len(inner)} {_several(inner[0])}"
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "table with a `kind`" if issubclass(kind, Component) else "table"
    return str(getattr(kind, "__name__", kind))


def _several(kind: Any) -> str:
    word, comma, bounds = _bare(kind).partition(", ")  # "number, at least 0"
    plural = word in ("whole number", "number", "text", "table", "list")
    return (f"{word}s" if plural else word.replace("table ", "tables ")) + comma + bounds


def spelled_knobs(knobs: Mapping[str, Any]) -> str:
    """Keys and values as a recipe has them: `root = "photos", classes = true`; what was not said is left out."""
    return ", ".join(f"{name} = {spelled_default(value)}" for name, value in knobs.items() if value is not None)


def spelled_default(value: Any) -> str:
    """A value as TOML has it; None is what a recipe says by leaving the key out."""
    if value is None:
        return "not given"
    if isinstance(value, BaseModel):
        return "its own defaults"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(spelled_default(one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {spelled_knobs(value)} }}" if value else "{}"
    return str(value)
