"""A first recipe for a goal over some stores: whom it learns from, and how large its student may be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from distillkit.callable import Say, silent
from distillkit.drafting.goals import GOALS, NEEDED
from distillkit.drafting.material import Material
from distillkit.drafting.second import with_second
from distillkit.drafting.size import milliseconds_of, parameters_of, within_latency, within_parameters
from distillkit.drafting.text import recipe_text
from distillkit.drafting.unseen import told_of_seen
from distillkit.errors import RecipeError
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.new_folder import refuse_what_is_there
from distillkit.system.paths import expand, here


def new_recipe(
    to: str | Path,
    *,
    images: str | Path,
    goal: str,
    texts: str | Path | None = None,
    classes: str | Path | None = None,
    class_names: str | Path | None = None,
    measure: str | Path | None = None,
    parameters: str | None = None,
    latency: str | None = None,
    image_size: int | None = None,
    teacher: str | None = None,
    also: str | None = None,
    say: Say = silent,
) -> Path:
    """Write the recipe `to` for a `goal` over these stores, and return where it is.

    `teacher`: whom to learn from, where the store of images holds what several said; `say` hears of the others where
    none is named. `also`: another teacher of that store to learn from as well. RecipeError where a file is there
    already, and as `draft` raises it.
    """
    to = here(to)
    refuse_what_is_there(to, RecipeError, "name another file")
    if texts is not None and os.path.realpath(expand(str(texts))) == os.path.realpath(expand(str(images))):
        told = "its captions are learned from without --texts, which is for texts of no image in particular"
        raise RecipeError(f"{texts}: is the store of the images, too; {told}")
    measured = _as_text(measure)
    seen = told_of_seen(str(images), measured) if measured is not None else ""
    others = (_as_text(texts), _as_text(classes), _as_text(class_names), measured)
    material = Material(str(images), *others, teacher, named=teacher is not None)
    budget = {"parameters": parameters, "latency": latency}
    text = draft(goal, material, to.stem, str(to), **budget, image_size=image_size, also=also)
    make_folder(to.parent)
    with atomic_file(to) as file:
        file.write(text.encode())
    if seen:
        say(seen)
    if told := _told_of_others(goal, material, also):
        say(f"{images}: {told}")
    return to


def _as_text(place: str | Path | None) -> str | None:
    return None if place is None else str(place)


def draft(
    goal: str,
    material: Material,
    name: str,
    file: str,
    *,
    parameters: str | None = None,
    latency: str | None = None,
    image_size: int | None = None,
    also: str | None = None,
) -> str:
    """The recipe `file` of a student for `goal`, called `name`; at most so large, or so slow.

    RecipeError for a goal that nobody knows, that the stores are not enough for, or a budget that no student keeps.
    """
    if goal not in GOALS:
        raise RecipeError(f"{goal!r} is none of the goals; there are: {', '.join(GOALS)}")
    material = material.of_who_said(NEEDED.get(goal, "image"))
    wanted = GOALS[goal](material, image_size)
    if also is not None:
        wanted, material = with_second(wanted, material, also), replace(material, also=also)
    if latency is not None:
        chosen = within_latency(wanted.ladder, milliseconds_of(latency))
    else:
        chosen = within_parameters(wanted.ladder, parameters_of(parameters or wanted.parameters))
    return recipe_text(wanted, material, chosen, name, file, _told_of_others(goal, material, also))


def _told_of_others(goal: str, material: Material, also: str | None) -> str:
    """Whom else the goal could learn from, and how; nothing where there is nobody, or one was named."""
    others = material.of_who_said(needed := NEEDED.get(goal, "image")).others_of(needed)
    return (
        f"other teachers said that, too: {', '.join(others)}; to learn from one: --teacher {others[0]}, from both: "
        f"--also {others[0]}"
        if others and also is None
        else ""
    )
