"""A drafted recipe as text, table by table: commented, complete, and one that `distillkit recipe check` passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from distillkit.drafting.goals import Goal, Raw
from distillkit.drafting.material import Material
from distillkit.drafting.measures import Knobs, Remarked
from distillkit.drafting.second import told_of_both
from distillkit.drafting.size import Choice, fitting_batch
from distillkit.pixels.resizing import usual_size
from distillkit.system.wording import as_word, count, network

_STEPS = 20_000  # of a training, between some and a hundred epochs
_MOST_TEXTS = 2048


def recipe_text(goal: Goal, material: Material, chosen: Choice, name: str, file: str, others: str) -> str:
    """The recipe `file`, called `name`. `others`: what to tell of other teachers; empty for nothing."""
    batch = fitting_batch(material.rows, chosen.image_bytes)
    lines = [
        *_head(goal, material, name, file),
        *_data(goal, material, chosen, batch, others),
        *_student(goal, chosen),
        *_optim(max(material.rows // batch, 1)),
        *_baseline(goal),
        *_evals(goal, material),
    ]
    return "\n".join(lines) + "\n"


def _head(goal: Goal, material: Material, name: str, file: str) -> Iterator[str]:
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


def _data(goal: Goal, material: Material, chosen: Choice, batch: int, others: str) -> Iterator[str]:
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
    yield from _keys(goal.data)
    if side := chosen.knobs.get("image_size"):
        kept = usual_size(side)
        room = f"{3 * kept * kept * material.rows / 1e6:,.0f} MB"
        yield f"# pixel_cache = {kept}  # decodes each image once, into a square of so many pixels: {room} in all"
    yield f"augment = {_toml(goal.augment)}  # the share of an image's area that a crop may have"


def _student(goal: Goal, chosen: Choice) -> Iterator[str]:
    yield f"\n[student]  # {chosen.parameters / 1e6:.2f} M parameters: {chosen.why}"
    yield from _keys(chosen.knobs)
    for term in goal.losses:
        yield from _table("losses", term)


def _optim(steps_per_epoch: int) -> Iterator[str]:
    epochs = min(max(round(_STEPS / steps_per_epoch), 10), 100)
    yield "\n[optim]"
    yield f"epochs = {epochs}  # {count(epochs * steps_per_epoch, 'step')}"
    yield f"lr = 1e-3\nmin_lr = 1e-5\nwarmup_epochs = {max(epochs / 20, 1):g}"


def _baseline(goal: Goal) -> Iterator[str]:
    what, keys, terms = goal.baseline
    yield f"\n[baseline]  # {what}"
    yield from _keys(keys)
    for term in terms:
        yield from _table("baseline.losses", term)


def _evals(goal: Goal, material: Material) -> Iterator[str]:
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
