"""`distillkit.train(recipe)`, although distillkit/train.py is also the file that says how: callable modules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from os import PathLike, fsdecode
from types import ModuleType
from typing import Any

from distillkit.errors import as_known
from distillkit.system.addresses import refuse_secrets

Say = Callable[[str], None]  # who hears what functions tell while they work, line by line


class CallableModule(ModuleType):
    """Calling the module is calling the function that has its name."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        for one in (*arguments, *keywords.values()):
            if isinstance(one, str | PathLike):  # as the command line does; lists of texts may say what they like
                refuse_secrets(fsdecode(one), self.__name__)
        function = getattr(self, self.__name__.rpartition(".")[2])
        return function(*_heard(function, arguments, keywords), **keywords)


def _heard(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
    """The arguments, where `say` hears of places as people know them; a keyword is changed in place."""
    given, names = list(arguments), list(inspect.signature(function).parameters)
    if keywords.get("say") is not None:
        keywords["say"] = _as_known(keywords["say"])
    elif "say" in names and names.index("say") < len(given):
        given[names.index("say")] = _as_known(given[names.index("say")])
    return given


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
