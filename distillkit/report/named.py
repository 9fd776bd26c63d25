"""What goes by the recipe's names of a run's stores: "images", of a mix "images.1" too, "texts", "also.NAME"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def of_images(named: Mapping[str, Value]) -> list[Value]:
    """What belongs to the image stores, of a mix all of them."""
    return [value for name, value in named.items() if name.partition(".")[0] == "images"]
