"""What a store's teacher could be asked for: told from its fingerprint, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distillkit.errors import DistillkitError
from distillkit.recipe.registry import resolve
from distillkit.system.wording import network

_KNOBS = ("model", "weights", "image_size")  # that a fingerprint tells as the recipe had them
_OF = {"cls": "class tokens", "text": "a text tower"}  # what a network must have for such a field


def advice(teacher: Mapping[str, Any], field: str) -> str:
    """What next where a store lacks a field of this teacher's: to ask for it is told only where that may help."""
    ask = f'ask the teacher for it: fields = ["{field}", ...] of the corpus in the extraction recipe'
    able = _able(teacher)
    if able is None:
        return f"choose another goal, or, if its network has {_OF[field]}, {ask}" if field in _OF else _or(ask)
    if field in able:
        return _or(ask)
    name = network(str(teacher.get("model")))
    return f"{name} cannot give it, so choose another goal, or extract with a teacher that can"


def _or(ask: str) -> str:
    return f"choose another goal, or {ask}"


def _able(teacher: Mapping[str, Any]) -> set[str] | None:
    """The fields that its network gives; None where only the loaded network knows, or another machine has it."""
    knobs = {key: teacher[key] for key in _KNOBS if key in teacher}
    if str(knobs.get("model", "")).startswith("hf-hub:"):  # nobody waits for a hub to hear what next
        return None
    try:
        told = resolve("teachers", teacher["kind"]).outline(**knobs)  # type: ignore[attr-defined]
    except (DistillkitError, AttributeError, KeyError, TypeError):
        return None  # a kind of one's own, without such a method or with other knobs
    return None if told is None else set(told.fields)
