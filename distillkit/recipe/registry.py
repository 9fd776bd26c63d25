"""The folder is the registry: `kind = "affinity"` in the room `losses` is the one public class of losses/affinity.py.

`kind = "my_pkg.mod:MyLoss"` reaches outside the package. Nothing is imported until it is named.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from pathlib import Path

from distillkit.errors import RecipeError
from distillkit.system.opening import blame_the_file

ROOMS = ("sources", "teachers", "students", "losses", "evals", "importers", "exports")


def kinds(room: str) -> list[str]:
    """The kinds of a room: its files, without those that start with an underscore. Imports nothing."""
    folder = Path(__file__).parent.parent / room
    try:
        _ = next(folder.iterdir(), None)  # of a folder that cannot be listed pkgutil says that it is empty
    except OSError as error:
        blame_the_file(error, folder)
        raise
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


def resolve(room: str, kind: str) -> type:
    """The class behind `kind` in `room`; RecipeError names the nearest kinds when there is none."""
    if ":" in kind:
        return _outside(room, kind)
    if kind not in kinds(room):
        near = difflib.get_close_matches(kind, kinds(room), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"{room}: unknown kind {kind!r}{hint} (there are: {', '.join(kinds(room))})")
    module = importlib.import_module(f"distillkit.{room}.{kind}")
    public = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if len(public) != 1:
        names = ", ".join(value.__name__ for value in public) or "none"
        raise RecipeError(f"{room}/{kind}.py must hold exactly one public class, it holds: {names}")
    return public[0]


def _outside(room: str, kind: str) -> type:
    module_name, _, class_name = kind.partition(":")
    if not all(name.isidentifier() for name in (*module_name.split("."), class_name)):
        raise RecipeError(f"{room}: {kind!r} is not of the form 'package.module:Class'")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise RecipeError(f"{room}: cannot import {module_name!r} for kind {kind!r}: {error}") from error
    except AttributeError as error:
        raise RecipeError(
            f"{room}: {module_name!r} has no {class_name!r}; name another class in kind = {kind!r}"
        ) from error
    if not inspect.isclass(found):
        raise RecipeError(f"{room}: {kind!r} is not a class; name one")
    return found
