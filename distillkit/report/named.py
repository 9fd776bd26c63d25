"""What goes by the recipe's names of a run's stores: "images", of a mix "images.1" too, "texts", "also.NAME"; and what
classes are called, which an eval without prompts knows by number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from distillkit.errors import StoreError
from distillkit.store.format.classes import classes_of
from distillkit.store.reading.selection import home

OF_TEXTS = ("retrieval", "asymmetric_retrieval")  # evals whose answers are captions, and no classes

Value = TypeVar("Value")


def of_images(named: Mapping[str, Value]) -> list[Value]:
    """What belongs to the image stores, of a mix all of them."""
    return [value for name, value in named.items() if name.partition(".")[0] == "images"]


def called_classes(store: Path) -> dict[str, str]:
    """The names of a store's classes by what an eval calls them, "0", "1", ...; none where it knows none. Those of a
    view are the store's.
    """
    try:
        return {str(number): name for name, number in classes_of(home(store)).items()}
    except StoreError:
        return {}
