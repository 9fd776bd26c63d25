"""A second teacher in a draft: what a store's other teacher said, as one more term.

Distances by the cosine begin near 1 whatever the widths, beside terms that begin at about one to ten.
"""

from __future__ import annotations

from dataclasses import replace

from distillkit.drafting.goals import Goal
from distillkit.drafting.material import Material
from distillkit.drafting.measures import Knobs
from distillkit.errors import RecipeError, StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.system.wording import count

_FIELDS = ("image", "cls")  # of which a student has one like it


def second_of(store: str) -> tuple[str, str] | None:
    """Two teachers that said something of the images of a store, the one to begin with and the one to add; None where
    there is one. The second is the one that came last.
    """
    try:
        fields = FeatureStore(expand(store)).fields
    except StoreError:
        return None
    told = dict.fromkeys(field.teacher for name, field in fields.items() if name.split("/")[1] in _FIELDS)
    return (next(iter(told)), next(reversed(told))) if len(told) > 1 else None


def with_second(goal: Goal, material: Material, alias: str) -> Goal:
    """The goal, its student learning from the teacher `alias` of the same store, too.

    RecipeError where that is the one learned from already, or said nothing that such a student can be asked for.
    """
    store = FeatureStore(expand(material.images), alias)
    if alias == material.said_by:
        others = [one for one in store.said_by if one != alias]
        told = f"--also {' or '.join(others)}" if others else "add another one to the store"
        raise RecipeError(f"{material.images}: {alias} is learned from already; name another teacher: {told}")
    field, ladder = _asked(goal, [one for one in _FIELDS if one in store.own_fields])
    if not ladder:
        raise RecipeError(
            f"{material.images}: of {alias} it has only {', '.join(store.own_fields)}, from which this goal cannot "
            "learn; extract its field image, or cls for --goal image-tower"
        )
    term: Knobs = {"kind": "feature_regression", "name": f"of_{alias}", "teacher": alias, "distance": "cosine"}
    term |= {} if field == "image" else {"field": field}
    return replace(
        goal,
        ladder=ladder,
        losses=[*goal.losses, (f"and what {alias} says: its directions, one by one", {**term, "weight": goal.beside})],
        data={**goal.data, "also": {alias: {"teacher": alias}}},
        unlike="; ".join(filter(None, [goal.unlike, f"{alias} is learned from as well"])),
    )


def told_of_both(material: Material) -> list[str]:
    """What of an image is there of each of two teachers, what it takes and from how many pixels it was made, and how
    many images only one of them said something of; nothing where there is one.
    """
    second = material.further
    if second is None:
        return []
    alone = [(one.said_by, len(one.store.ok_rows) - material.rows) for one in (material, second)]
    lost = [f"{count(rows, 'image')} left out: {who} alone said something of them" for who, rows in alone if rows]
    return [*map(_told_of, (material, second)), *lost]


def _told_of(material: Material) -> str:
    said = material.store.own_fields
    size = sum(field.row_bytes for field in said.values())
    return f"{material.said_by} said {', '.join(said)}: {size:,} bytes a row, of images of {material.shown} pixels"


def _asked(goal: Goal, said: list[str]) -> tuple[str, list[Knobs]]:
    """What the second teacher is asked for, and the students that have it."""
    tokens = [knobs for knobs in goal.ladder if knobs.get("tokens")]
    if "cls" in said and tokens:
        return "cls", tokens
    if "image" in said:
        return "image", goal.ladder
    vits = [knobs for knobs in goal.ladder if knobs["kind"] == "timm_image" and "patch" in str(knobs["model"])]
    return "cls", [{**knobs, "tokens": True} for knobs in vits] if "cls" in said else []
