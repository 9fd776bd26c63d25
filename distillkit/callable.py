"""`distillkit.train(recipe)`, although distillkit/train.py is also the file that says how: callable modules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache, wraps
from os import PathLike, fsdecode
from pathlib import PurePath
from types import ModuleType
from typing import Any

import numpy as np

from distillkit.errors import as_known
from distillkit.system.addresses import refuse_secrets
from distillkit.system.arguments import refuse_other_types

Say = Callable[[str], None]  # who hears what functions tell while they work, line by line


class CallableModule(ModuleType):
    """Calling the module is calling the function that has its name."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return public(getattr(self, name), name)(*arguments, **keywords)


@cache
def public(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function as the package offers it by that name: a value of another type than it names is one line, secrets in
    addresses are refused as on the command line, and `say` hears of places as people know them.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        try:
            bound = signature.bind(*arguments, **keywords)
        except TypeError:
            return function(*arguments, **keywords)  # Python says itself what is missing, or unknown
        given = bound.arguments
        given.update({parameter: _plain(one) for parameter, one in given.items()})
        for one in given.values():
            if isinstance(one, str | PathLike):  # lists of texts may say what they like
                refuse_secrets(fsdecode(one), f"distillkit.{name}")
        refuse_other_types(function, name, given)
        if "say" in given:
            given["say"] = _as_known(given["say"])
        return function(*bound.args, **bound.kwargs)

    called.__module__, called.__qualname__ = "distillkit", name  # where pickle finds it
    return called


def _plain(one: Any) -> Any:
    """Places as texts, where they are of a kind whose `str` is none, as what `os.scandir` gives; and a torch.device, as
    everybody writes it who uses torch, which need not be imported to know one. NumPy's numbers as Python's: libraries
    of C++ take no others.
    """
    if isinstance(one, np.generic):
        return one.item()
    if type(one) in (list, tuple):
        return type(one)(map(_plain, one))
    if (type(one).__module__, type(one).__name__) == ("torch", "device"):
        return str(one)
    return fsdecode(one) if isinstance(one, PathLike) and not isinstance(one, PurePath) else one


def _as_known(say: Say) -> Say:
    return lambda line: say(as_known(line))


def silent(message: str) -> None:
    """The `Say` of functions where nobody else is named to hear them: `say=print` prints it."""


def make_callable(name: str) -> None:
    """Last line of such a module: `make_callable(__name__)`."""
    module = sys.modules[name]
    module.__class__ = CallableModule
    # What `help` and editors show.
    module.__signature__ = inspect.signature(getattr(module, name.rpartition(".")[2]))  # type: ignore[attr-defined]
