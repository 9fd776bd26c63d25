"""What Python hands to a public function: a word where a list belongs, None, a dataset. Told in one line, at once.

A text is a sequence of texts to Python, so `compare("runs/mine")` would go on with a run "r"; and a path may be made of
anything that has a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from distillkit.errors import DistillkitError

_SHOWN = 60  # characters of a value
# What each class also takes, as NumPy's numbers, and how a line calls it.
_TAKES: dict[Any, tuple[Any, str]] = {
    str: (str, "a text"),
    Path: ((str, PathLike), "a path"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: ((bool, np.bool_, Integral), "True or False"),
    NoneType: (NoneType, "None"),
}


def refuse_other_types(function: Callable[..., Any], name: str, given: Mapping[str, Any]) -> None:
    """DistillkitError, which begins with `name`, where a value is of no type that `function` names for that parameter.

    Types that are no classes, nor sequences or functions, are left to the function.
    """
    function = inspect.unwrap(function)
    for parameter, value in given.items():
        wanted = _wanted(function, parameter)
        if wanted and not any(_fits(value, one) for one in wanted):
            told = " or ".join(dict.fromkeys(_told(one) for one in wanted if one is not str or Path not in wanted))
            raise DistillkitError(f"{name}: {parameter} = {value!r:.{_SHOWN}}: {told} is needed{_cure(value, wanted)}")


def _wanted(function: Any, parameter: str) -> tuple[Any, ...]:
    """The types that may be given; none where one of them says nothing that can be asked of a value."""
    noted = SimpleNamespace(__annotations__={parameter: function.__annotations__.get(parameter, Any)})
    try:
        hint = get_type_hints(noted, globalns=function.__globals__)[parameter]
    except NameError:  # imported for who checks types alone
        return ()
    wanted = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = all(isinstance(one, type) or _many(one) or _function(one) for one in wanted)
    return wanted if plain and Any not in wanted else ()


def _many(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)


def _function(hint: Any) -> bool:
    return get_origin(hint) is Callable


def _fits(value: Any, wanted: Any) -> bool:
    if _function(wanted):
        return callable(value)
    if wanted in (int, float) and isinstance(value, bool | np.bool_):  # to Python a number, to libraries none
        return False
    if not _many(wanted):
        return isinstance(value, _TAKES[wanted][0] if wanted in _TAKES else wanted)
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        return False
    (each,) = get_args(wanted)
    kinds = get_args(each) or (each,)
    return not isinstance(value, list | tuple) or all(any(_fits(one, kind) for kind in kinds) for one in value)


def _told(wanted: Any) -> str:
    if _function(wanted):
        return "a function"
    if _many(wanted):
        (each,) = get_args(wanted)
        return "a list of paths" if Path in (each, *get_args(each)) else "a list of texts"
    if wanted in _TAKES:
        return _TAKES[wanted][1]
    return f"a{'n' if wanted.__name__[0] in 'AEIOU' else ''} {wanted.__name__}"


def _cure(value: Any, wanted: tuple[Any, ...]) -> str:
    """What was likely meant."""
    if isinstance(value, str | PathLike) and any(map(_many, wanted)):
        return f", such as [{str(value)!r:.{_SHOWN}}]"
    return "; leave it out, or use print" if any(map(_function, wanted)) else ""
