"""A recipe as text: commented, complete, and one that `distillkit recipe check` passes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillkit.callable import silent
from distillkit.drafting.goals import GOALS, NEEDED, Goal, Raw
from distillkit.drafting.material import Material
from distillkit.drafting.measures import Knobs, Remarked
from distillkit.drafting.second import told_of_both, with_second
from distillkit.drafting.size import Choice, fitting_batch, milliseconds_of, parameters_of, within_latency
from distillkit.drafting.size import within_parameters as within
from distillkit.drafting.unseen import told_of_seen
from distillkit.errors import RecipeError
from distillkit.pixels.resizing import usual_size
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.paths import expand, here
from distillkit.system.wording import as_word, count, network

_STEPS = 20_000  # of a training, between some and a hundred epochs
_MOST_TEXTS = 2048


def new_recipe(
    to: str | Path,
    *,
    images: str,
    goal: str,
    texts: str | None = None,
    classes: str | None = None,
    class_names: str | None = None,
    measure: str | None = None,
    parameters: str | None = None,
    latency: str | None = None,
    image_size: int | None = None,
    teacher: str | None = None,
    also: str | None = None,
    say: Callable[[str], None] = silent,
) -> Path:
    """Write the recipe `to` for a `goal` over these stores, and return where it is.

    `teacher`: whom to learn from, where the store of images holds what several said; `say` hears of the others where
    none is named. `also`: another teacher of that store to learn from as well. RecipeError where a file is there
    already, and as `draft` raises it.
    """
    to = here(to)
    if to.exists():
        raise RecipeError(f"{to}: is there already; name another file, or move it away")
    if texts is not None and os.path.realpath(expand(texts)) == os.path.realpath(expand(images)):
        told = "its captions are learned from without --texts, which is for texts of no image in particular"
        raise RecipeError(f"{texts}: is the store of the images, too; {told}")
    seen = told_of_seen(images, measure) if measure is not None else ""
    material = Material(images, texts, classes, class_names, measure, teacher, named=teacher is not None)
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
        chosen = within(wanted.ladder, parameters_of(parameters or wanted.parameters))
    return "\n".join(_lines(wanted, material, chosen, name, file, _told_of_others(goal, material, also))) + "\n"


def _told_of_others(goal: str, material: Material, also: str | None) -> str:
    """Whom else the goal could learn from, and how; nothing where there is nobody, or one was named."""
    others = material.of_who_said(needed := NEEDED.get(goal, "image")).others_of(needed)
    return (
        f"other teachers said that, too: {', '.join(others)}; to learn from one: --teacher {others[0]}, from both: "
        f"--also {others[0]}"
        if others and also is None
        else ""
    )


def _lines(goal: Goal, material: Material, chosen: Choice, name: str, file: str, others: str) -> Iterator[str]:
    batch = fitting_batch(material.rows, chosen.image_bytes)
    steps = max(material.rows // batch, 1)
    epochs = min(max(round(_STEPS / steps), 10), 100)
    yield f"# {goal.title} under {network(str(material.teacher.get('model')))}, drafted by: distillkit recipe new"
    yield f"#   distillkit recipe check {as_word(file)}"
    yield f"#   distillkit train-student {as_word(file)}"
    yield f"#   distillkit evaluate {as_word(f'runs/{name}')}"
    yield "# What a key means, and which others there are: distillkit recipe explain KEY, or docs/reference.md."
    yield f"name = {_toml(name)}  # its run folder is runs/{name}"
    if goal.unlike:
        yield f"# Its terms are taken from {goal.paper}, but the whole is not the method of that paper:"
        yield f"# {goal.unlike}. So reports name no paper."
    else:
        yield f"paper = {_toml(goal.paper)}"
    yield "seed = 0"
    yield "\n[data]"
    yield f"images = {_toml(material.images)}  # {material.rows:,} with features{' of both' if material.also else ''}"
    yield from (f"# {line}" for line in told_of_both(material))
    if material.alias:
        why = (
            "as it was named" if material.named else "the first of the store's teachers that said what this goal needs"
        )
        yield f"teacher = {_toml(material.alias)}  # {why}"
    if others:
        yield f"# {others}"
    own = next((one for one in ("captions", "classes") if one in goal.data), None)
    if material.texts and own:
        yield f"# {material.texts} is left out: this goal learns from {own}, and a run reads one kind of text"
    elif material.texts:
        yield f"texts = {_toml(material.texts)}  # {material.text_rows:,}, of no image in particular"
        yield f"text_batch_size = {min(_MOST_TEXTS, 2 ** (material.text_rows.bit_length() - 1))}"
    yield f"batch_size = {batch}  # images a step, in about {batch * chosen.image_bytes / 1e6:,.0f} MB of memory"
    for key, value in goal.data.items():
        yield f"{key} = {_toml(value)}"
    if side := chosen.knobs.get("image_size"):
        kept = usual_size(side)
        room = f"{3 * kept * kept * material.rows / 1e6:,.0f} MB"
        yield f"# pixel_cache = {kept}  # decodes each image once, into a square of so many pixels: {room} in all"
    yield f"augment = {_toml(goal.augment)}  # the share of an image's area that a crop may have"
    yield f"\n[student]  # {chosen.parameters / 1e6:.2f} M parameters: {chosen.why}"
    yield from _keys(chosen.knobs)
    for term in goal.losses:
        yield from _table("losses", term)
    yield "\n[optim]"
    yield f"epochs = {epochs}  # {count(epochs * steps, 'step')}"
    yield f"lr = 1e-3\nmin_lr = 1e-5\nwarmup_epochs = {max(epochs / 20, 1):g}"
    what, keys, terms = goal.baseline
    yield f"\n[baseline]  # {what}"
    yield from _keys(keys)
    for term in terms:
        yield from _table("baseline.losses", term)
    if goal.evals and not material.measured:
        yield "\n# Measured on the images that it learns from, for want of others. Give it some that it has never seen:"
        yield "# extract them as a store of their own; name it for each `store` below, or to --measure of `recipe new`."
    for one in goal.evals:
        yield from _table("evals", one)


def _table(path: str, remarked: Remarked) -> Iterator[str]:
    remark, knobs = remarked
    yield f"\n[[{path}]]" + (f"  # {remark}" if remark else "")
    yield from _keys(knobs)


def _keys(knobs: Knobs) -> Iterator[str]:
    return (f"{key} = {_toml(value)}" for key, value in knobs.items())


def _toml(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
