"""`distillkit.train(recipe)`, although distillkit/train.py is also the file that says how: callable modules."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """Calling the module is calling the function that has its name."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **keywords)


def silent(message: str) -> None:
    """Who hears what functions tell while they work, where nobody else is named: `say=print` prints it."""


def make_callable(name: str) -> None:
    """Last line of such a module: `make_callable(__name__)`."""
    module = sys.modules[name]
    module.__class__ = CallableModule
    # What `help` and editors show.
    module.__signature__ = inspect.signature(getattr(module, name.rpartition(".")[2]))  # type: ignore[attr-defined]
