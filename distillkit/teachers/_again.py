"""From what a store or a run remembers of its teacher back to the teacher itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distillkit.recipe import Component
from distillkit.recipe.registry import resolve


def component_of(record: Mapping[str, Any], device: str | None = None) -> Component | None:
    """The teacher with the knobs that its fingerprint tells; None for one that nobody here can ask: imported, mined."""
    if record.get("kind") in ("imported", "mined", None):
        return None
    parameters = inspect.signature(resolve("teachers", record["kind"])).parameters
    knobs = {name: record[name] for name in parameters if name in record}
    if "run" in parameters:
        knobs["run"] = record["model"]
    if "pixels" in parameters and "pixels" in record.get("preprocess", {}):
        knobs["pixels"] = record["preprocess"]["pixels"]
    if "device" in parameters and device is not None:
        knobs["device"] = device
    return Component(kind=record["kind"], **knobs)
