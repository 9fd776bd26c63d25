"""The `[data]` of a baseline, which is the run's but for its texts: no key is left there that speaks of what is gone.

Each `[data]` is checked as a whole (data.py), and a baseline is opened again from its own recipe.json: what is derived
has to pass that check, too.
"""

from __future__ import annotations

from typing import Any

from distillkit.recipe.data import Data
from distillkit.recipe.schema import validate


def without_texts(data: Data, changes: dict[str, Any], where: str) -> Data:
    """The same under `changes`, its unpaired texts left out; RecipeError where what is left contradicts itself."""
    return validate(Data, mended(data.model_dump(mode="json") | changes | {"texts": None}), where)


def mended(data: dict[str, Any]) -> dict[str, Any]:
    """Without what the run's `[data]` may say and its baseline's may not.

    Runs of before kept such baselines; they were trained as if these keys had not been there, but for `labels`, where
    images without one had no turn.
    """
    changes: dict[str, Any] = {}
    if data.get("sampling", "uniform") != "uniform" and not (data.get("texts") and data.get("images")):
        changes["sampling"] = "uniform"
    if data.get("labels") and data.get("captions", "none") != "none":
        changes["labels"] = False
    return data | changes
