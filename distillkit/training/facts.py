"""What is known of a trained student and what it cost, for its `student.json`."""

from __future__ import annotations

from typing import Any

from torch import nn

from distillkit.store.reading.keys import keys_sha256
from distillkit.students._count import towers
from distillkit.training.ingredients import Ingredients


def facts_of(
    student: nn.Module, ingredients: Ingredients, steps: int, batch_size: int, seconds: float
) -> dict[str, Any]:
    """Of a student after its last step, trained on these ingredients within `seconds`."""
    stores = ingredients.stores
    return {
        "parameters": parameters_of(student),
        "towers": towers(student),
        "steps": steps,
        "images_seen": steps * batch_size,
        "seconds": round(seconds, 1),
        "stores": {name: str(store.path) for name, store in stores.items()},
        "opened": {name: {"teacher": store.alias, "uses": list(store.uses)} for name, store in stores.items()},
        "rows": {name: len(store.ok_rows) for name, store in stores.items()},
        "asked": {name: len(store.whole.ok_rows) for name, store in stores.items()},
        # A view can be made again of other rows: a report has to know whether these were the same images.
        "keys": {
            f"images.{number}" if number else "images": keys_sha256(images.store, images.store.ok_rows)
            for number, images in enumerate(ingredients.images)
        },
        "teacher": ingredients.teacher,
        "also": ingredients.further_teachers,
    }


def parameters_of(student: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in student.parameters())
