"""This architecture, that file: `model = "NAME"` with `weights = "FILE"`, of teachers and of what a student inherits.

The older spelling, "NAME/FILE", means the same.
"""

from __future__ import annotations

from distillkit.errors import RecipeError
from distillkit.system.paths import expand

# "NAME/TAG", "NAME/FILE", "run:FOLDER" and the like; or { model = "NAME", weights = "FILE" }.
Inherit = str | dict[str, str]


def named(model: str, weights: str | None) -> str:
    """Both as one name."""
    if weights is None:
        return model
    if "/" in model or ":" in model:
        raise RecipeError(
            f"model = {model!r} names weights already; leave weights = {weights!r} out, or write the model's name alone"
        )
    return f"{model}/{expand(weights)}"


def inherited(inherit: Inherit | None) -> str | None:
    """What a student inherits as one name; RecipeError for a table with other keys."""
    if inherit is None or isinstance(inherit, str):
        return inherit
    if "model" not in inherit or inherit.keys() - {"model", "weights"}:
        raise RecipeError(
            'student: inherit = { model = "NAME", weights = "FILE" } has these two keys and no other; or write a '
            "name alone"
        )
    return named(inherit["model"], inherit.get("weights"))
