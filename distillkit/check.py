"""What a recipe asks for: of a training before any data, weight or GPU is at hand, of an extraction before any weight.

    distillkit recipe check pipelines/dime_fm.toml

The student is built on the meta device: nothing is downloaded and no memory is taken. Where the recipe's store is not
extracted yet, `[data.expect]` says how many rows it will have and how wide the teacher is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distillkit.callable import Say, make_callable, silent
from distillkit.engine.checked import checked
from distillkit.errors import RecipeError
from distillkit.evals._encode import stores_of
from distillkit.evals._held import unshown
from distillkit.evaluation.unseen import measured_in_training
from distillkit.recipe import Data, ExtractRecipe, TrainRecipe, load
from distillkit.recipe.load import content_of
from distillkit.runfolder import RunFolder
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.students._count import count
from distillkit.students._layers import refuse_uncounted
from distillkit.system.paths import expand, here, meant
from distillkit.system.wording import as_word
from distillkit.system.wording import count as counted
from distillkit.system.wording import size as bytes_told
from distillkit.training.ask import stored
from distillkit.training.beginning import there
from distillkit.training.class_order import class_orders
from distillkit.training.expected import Expected, expected_of, is_there
from distillkit.training.further import beside_of, other_widths
from distillkit.training.gradcache import refuse_more_parts
from distillkit.training.ingredients import Ingredients
from distillkit.training.keepable import refuse_what_is_not_kept
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.training.schedule import not_the_highest, total_steps
from distillkit.training.stores import open_store, texts_store
from distillkit.training.validation import Validator
from distillkit.types import Widths

_HALF = 2  # bytes of a float16


def check(
    recipe: TrainRecipe | ExtractRecipe | str | Path,
    say: Say = silent,
    *,
    overrides: Sequence[str] = (),
) -> list[str]:
    """Parameters, multiply-accumulates, teacher fields and their bytes, and steps: a line each; of an extraction its
    teachers, corpora and stores.

    `recipe` may be a file, with `overrides` such as "data.batch_size=64". `say` hears how long corpora take to plan.
    """
    made = recipe if isinstance(recipe, TrainRecipe | ExtractRecipe) else _loaded(here(recipe), overrides)
    if isinstance(made, ExtractRecipe):
        return checked(made, say, "RECIPE" if isinstance(recipe, ExtractRecipe) else str(recipe))
    alone = made.alone()
    return [line for one in alone for line in (*([f"{one.folder}"] if len(alone) > 1 else []), *_check(one))]


def _loaded(path: Path, overrides: Sequence[str]) -> TrainRecipe | ExtractRecipe:
    """A recipe of the stage that its keys are of."""
    keys = content_of(path).keys()
    if "claims" in keys:
        raise RecipeError(f"{path}: claims of a paper, which have a command: distillkit claims {as_word(path)} --plan")
    if "evals" in keys and not keys & {"corpora", "data", "student", "students"}:
        raise RecipeError(
            f"{path}: a file of evals, which goes with a run and its stores: distillkit evaluate RUN --eval "
            f"{as_word(path)}"
        )
    if "corpora" in keys:
        return load(path, list(overrides), kind=ExtractRecipe)
    return load(path, list(overrides), kind=TrainRecipe)


def _check(recipe: TrainRecipe) -> list[str]:
    """Of one student."""
    expected = expected_of(recipe)
    _refuse_other_texts(recipe.data)
    with torch.device("meta"):
        student = recipe.student.build("students")
        objective = _objective(recipe, student, expected)
        refuse_what_is_not_kept(student, objective)
        student_lines = _told_of_student(student, objective)
        refuse_uncounted(student, recipe.optim.layer_decay)
        baseline = recipe.of_baseline()
        compared = _objective(baseline, student, expected_of(baseline)) if baseline else None
    for one in filter(None, (recipe, baseline)):
        _refuse_as_training_would(one, student)
    steps_per_epoch = recipe.data.repeats * int(expected.rows // _images_a_batch(recipe.data))
    return [
        *student_lines,
        f"terms        {_terms(objective)}",
        *(f"             {line}" for line in objective.capped()),
        *_told_of_teachers(recipe.data, objective, expected),
        f"training     {counted(total_steps(steps_per_epoch, recipe.optim), 'step')} of "
        f"{counted(recipe.data.batch_size, 'image')}, "
        f"{counted(recipe.optim.epochs, 'epoch')}",
        *(f"             {line}" for line in not_the_highest(recipe.optim)),
        *([f"baseline     {_terms(compared)}"] if compared else []),
        *_measured(recipe, student),
        *(f"seen         {line}" for line in measured_in_training(recipe)),
        *(f"classes      {line}" for line in class_orders(recipe)),
        *(line for one in (recipe, baseline) if one for line in there(one)),
    ]


def _objective(recipe: TrainRecipe, student: Any, expected: Expected) -> Objective:
    widths = Widths(student.widths, expected.widths, other_widths(recipe.data))
    return Objective(recipe.losses, widths, mixed=recipe.data.augment.mixes)


def _told_of_student(student: Any, objective: Objective) -> list[str]:
    """Its size, with the heads of the losses, and what it computes."""
    size, heads = count(student), sum(parameter.numel() for parameter in objective.parameters())
    return [
        f"student      {size.parameters / 1e6:.2f} M parameters (image {size.image / 1e6:.2f}, "
        f"text {size.text / 1e6:.2f}, token embedding {size.token_embedding / 1e6:.2f}), heads {heads / 1e6:.2f} M",
        f"compute      {size.image_macs / 1e6:,.1f} M multiply-accumulates an image"
        + (f", {size.text_macs / 1e6:,.1f} M a text" if size.text_macs else ""),
    ]


def _told_of_teachers(data: Data, objective: Objective, expected: Expected) -> list[str]:
    """The fields that losses read, and what those of a store of images take in each row."""
    fields = sorted(need.removeprefix("teacher.") for need in objective.needs if need.startswith("teacher."))
    further = sorted(need for need in objective.needs if need.partition(".")[0] in data.also)
    beside = beside_of(data, further)
    values = sum(beside.values())
    # The scale is in the manifest, a label in the index, and texts may be another store's.
    elsewhere = {"scale", "label", "text"} if data.texts or data.classes else {"scale", "label"}
    for name in (name for name in fields if name not in elsewhere):
        each = expected.patches if name == "patches" else 1
        values += expected.widths[name] * each * (1 if name == "text" else expected.views)
    return [
        f"teacher      {', '.join([*fields, *further]) or 'nothing'}",
        f"store        {_HALF * values:,} bytes a row in float16{_of_further_teachers(beside)}, "
        f"{bytes_told(_HALF * values * expected.rows)} for {counted(expected.rows, 'row')}",
    ]


def _refuse_other_texts(data: Data) -> None:
    """StoreError for texts of another teacher, before anybody is told that their width is not the student's."""
    images = data.images or next((one.images for one in data.mix), None)
    for knob, texts in (("data.texts", data.texts), ("data.classes", data.classes)):
        if images and texts and is_there(images) and is_there(texts):
            first, second = open_store(images, data.teacher, "data.teacher"), texts_store(texts, data.teacher, knob)
            refuse_other_teacher(first, "image", second, "text")


def _refuse_as_training_would(recipe: TrainRecipe, student: Any) -> None:
    """Where all its stores are there: batches larger than the corpus, another teacher's texts, widths that differ."""
    data = recipe.data
    stores = [data.images, data.texts, data.classes, *(one.images for one in data.mix)]
    stores += [one.images for one in data.also.values()]
    if all(is_there(store) for store in stores if store):
        ingredients = Ingredients(data, recipe.seed, student, Ranks(), stored)
        widths = ingredients.widths(student)
        refuse_more_parts(recipe.optim.accumulate, data, Ranks())
        with torch.device("meta"):
            Objective(recipe.losses, widths, mixed=data.augment.mixes)


def _terms(objective: Objective) -> str:
    return ", ".join(f"{name} x {loss.weight:g}" for name, loss in objective.terms.items())


def _measured(recipe: TrainRecipe, student: Any) -> list[str]:
    """What is measured, on which stores, and which of them are not there; RecipeError for a `best` that none gives."""
    named = [("validation", recipe.validation.eval)] if recipe.validation else []
    lines, lacking = [], False
    for place, component in [*named, *(("evaluation", one) for one in recipe.evals)]:
        measure: Any = component.build("evals")
        stores = {name: is_there(name) for name in stores_of(measure)}
        remarks = []
        if all(stores.values()) and hasattr(measure, "check"):
            remarks = unshown(measure.check(lambda name: FeatureStore(expand(name), recipe.data.teacher)))
        told = ", ".join(
            name if there else f"{name} (not there yet{meant(expand(name))})" for name, there in stores.items()
        )
        lines += [f"{place:12} {component.kind} of {told}", *(f"{'':12} {line}" for line in remarks)]
        lacking = lacking or (place == "validation" and not all(stores.values()))
    if not lacking:
        Validator(recipe, RunFolder(recipe.folder)).try_out(student)
    return lines


def _of_further_teachers(beside: dict[str, int]) -> str:
    """The part of a row's bytes that features of `data.also` take, in brackets; empty without any."""
    told = [f"{_HALF * values:,} of data.also.{name}" for name, values in beside.items()]
    return f" ({', '.join(told)})" if told else ""


def _images_a_batch(data: Data) -> float:
    """How many of a batch come from the store that makes an epoch."""
    shares = [mixed.weight for mixed in data.mix] or [1.0]
    return data.batch_size * shares[0] / sum(shares)


make_callable(__name__)
