"""Stage 2, top to bottom: open the stores, build students and objectives, step.

    distillkit train-student pipelines/demo/dime_fm.toml

Rerunning continues from the last checkpoint, bit for bit on the same machine; a finished run is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from distillkit.callable import make_callable
from distillkit.errors import RecipeError, StoreError, TrainError
from distillkit.evals._encode import stores_of
from distillkit.recipe import TrainRecipe, differences, load
from distillkit.runfolder import RunFolder, device_of, identity, inherited_sha256
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import cpu
from distillkit.system.machine import machine
from distillkit.system.paths import expand
from distillkit.system.versions import versions
from distillkit.training import checkpoint
from distillkit.training.ask import Ask
from distillkit.training.batches import Batches
from distillkit.training.course import Course
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks, joined
from distillkit.training.schedule import total_steps
from distillkit.training.trackers import refuse_missing
from distillkit.training.validation import Validator
from distillkit.types import Widths

Say = Callable[[str], None]
_SHOWN = 6  # changes of a recipe that are told one by one


def train(
    recipe: TrainRecipe | str | Path,
    say: Say = print,
    command: str | None = None,
    *,
    overrides: Sequence[str] = (),
    ask: Ask | None = None,
    overwrite: bool = False,
    engine: str = "local",
) -> Path:
    """Train the recipe's student, or its students, then the baseline if it has one; returns the run folder.

    `recipe` may be a file, with `overrides` such as "optim.lr=3e-4". `command` is what reports tell. `ask` stands in
    for the stores (live.py). `overwrite`: begin anew; what was there is moved aside. Under torchrun every process
    calls this, and each computes a share; with `engine` "ray" the workers of the recipe's [ray] do.
    """
    if not isinstance(recipe, TrainRecipe):
        recipe = load(recipe, list(overrides), kind=TrainRecipe)
    if engine == "ray":
        _train_on_ray(recipe, say, command, overwrite)
        return recipe.folder
    if recipe.data.source == "live" and ask is None:
        raise RecipeError("data.source: a live teacher is built by the caller; pass ask=distillkit.live.Live(recipe)")
    cpu.settle()
    if recipe.optim.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA begins
    torch.use_deterministic_algorithms(recipe.optim.deterministic)
    device = device_of(recipe.device)
    with joined(device) as ranks:
        heard = say if ranks.first else _nothing
        alone = recipe.alone()
        baselines = [baseline for one in alone if (baseline := one.of_baseline())]
        train_together(alone, device, ranks, heard, command, ask, overwrite, then=baselines)
        if baselines:
            train_together(baselines, device, ranks, heard, command, ask, overwrite=False)
    return recipe.folder


def _train_on_ray(recipe: TrainRecipe, say: Say, command: str | None, overwrite: bool) -> None:
    from distillkit.training.ray import on_ray

    if recipe.data.source == "live":
        raise RecipeError("data.source: a live teacher does not travel to Ray's workers; train here, or from a store")
    on_ray(recipe.ray, recipe.folder, partial(train, recipe, command=command, overwrite=overwrite), say)


def train_together(
    recipes: list[TrainRecipe],
    device: torch.device,
    ranks: Ranks,
    say: Say,
    command: str | None,
    ask: Ask | None,
    overwrite: bool,
    then: Sequence[TrainRecipe] = (),
) -> None:
    """Students over the same batches, from wherever their run folders stand to the end.

    `then`: the baselines that come after them. What those are refused for is told now.
    """
    runs = [RunFolder(recipe.folder) for recipe in recipes]
    with ExitStack() as locks:
        for run in runs if ranks.first else ():
            locks.enter_context(run.locked())
        # All that can be refused is refused before an older run is moved aside.
        students, batches, objectives = _opened(recipes, ranks, ask)
        if then:
            _try_baselines(then, ranks, ask)
        if ranks.first:
            stores = {name: store.digest for name, store in batches.stores.items()}
            wanted = [_identity(recipe, run, stores, overwrite) for recipe, run in zip(recipes, runs, strict=True)]
            for recipe, run, one, student in zip(recipes, runs, wanted, students, strict=True):
                if overwrite or not run.stands(one):
                    batches.try_out()
                    _try_out(recipe, run, student, say)
            for recipe, run, one in zip(recipes, runs, wanted, strict=True):
                _begin(recipe, run, one, overwrite, say)
        finished = ranks.told([run.finished for run in runs])
        todo = [number for number, done in enumerate(finished) if not done]
        if todo:
            batches.narrow(set().union(*(objectives[number].needs for number in todo)))
            batches.go_to(device)
            with _fitting("the student alone does", recipes[0]):
                learners = [
                    Learner(
                        students[n],
                        objectives[n],
                        recipes[n].optim,
                        seed=recipes[n].seed,
                        device=device,
                        ranks=ranks,
                        fresh=not checkpoint.begun(runs[n].checkpoints),
                    )
                    for n in todo
                ]
            _train([recipes[n] for n in todo], [runs[n] for n in todo], learners, batches, say, command)


def _try_baselines(recipes: Sequence[TrainRecipe], ranks: Ranks, ask: Ask | None) -> None:
    try:
        _ = _opened(recipes, ranks, ask)
    except (RecipeError, StoreError, TrainError) as error:
        raise type(error)(f"baseline: {error}") from error


def _opened(
    recipes: Sequence[TrainRecipe], ranks: Ranks, ask: Ask | None
) -> tuple[list[Any], Batches, list[Objective]]:
    """Students and objectives, as they begin, and the batches that all of them see."""
    students: list[Any] = []
    objectives: list[Objective] = []
    for recipe in recipes:
        torch.manual_seed(recipe.seed)
        students.append(recipe.student.build("students"))
        if not objectives:
            batches = Batches(recipe.data, recipe.seed, students[0], ranks, ask)
        widths = Widths(students[-1].widths, batches.teacher_widths, batches.other_widths)
        objectives.append(Objective(recipe.losses, widths, mixed=recipe.data.augment.mixes))
    _refuse_other_inputs(students)
    return students, batches, objectives


def _try_out(recipe: TrainRecipe, run: RunFolder, student: Any, say: Say) -> None:
    """Refuse what would be refused while the student trains; tell what its evaluation will lack."""
    refuse_missing(recipe.log)
    Validator(recipe, run).try_out(student)
    for number, component in enumerate(recipe.evals):
        for name in stores_of(component.build("evals")):
            try:
                FeatureStore(expand(name))
            except StoreError as error:
                say(f"evals[{number}]: {error}; it is needed when the student is evaluated")


def _train(
    recipes: list[TrainRecipe],
    runs: list[RunFolder],
    learners: list[Learner],
    batches: Batches,
    say: Say,
    command: str | None,
) -> None:
    recipe, device, ranks = recipes[0], learners[0].device, learners[0].ranks
    last = total_steps(batches.steps_per_epoch, recipe.optim)
    with ranks.one_first():
        batches.prepare()
    for note in batches.notes:
        say(note)
    with ExitStack() as open_courses:
        courses = [
            open_courses.enter_context(Course(one, run, learner, batches, last, say))
            for one, run, learner in zip(recipes, runs, learners, strict=True)
        ]
        for course in courses:
            say(_introduction(course, device))
            course.begin(shown=course is courses[0])
        first = min(course.done for course in courses)
        with _fitting(f"{recipe.data.batch_size} images do", recipe):
            for batch in batches.stream(first, last, _ahead(recipe, device)):
                seen = batch.to(device)
                for course in courses:
                    # One that is further on than the others waits for them; none sees a batch twice.
                    if course.done <= seen.step:
                        course.step(seen)
    students = [course.learner.trained() for course in courses]
    for course, student in zip(courses, students, strict=True) if ranks.first else ():
        seconds = course.progress.seconds
        say(f"{course.run.path}: trained {last} steps in {seconds:.0f} s")
        facts = _facts(course, last, seconds) | {"command": command, "machine": machine()}
        course.run.finish(student, facts)
    ranks.wait()


@contextmanager
def _fitting(what: str, recipe: TrainRecipe) -> Iterator[None]:
    """TrainError that names the knobs, where a GPU's memory does not suffice for what is inside."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        optim = recipe.optim
        knobs = {
            f"optim.accumulate = {2 * optim.accumulate} (same loss, smaller parts)": True,
            "optim.recompute = true (activations are made twice)": not optim.recompute,
            "optim.shard = true on several GPUs": not optim.shard,
        }
        raise TrainError(
            f"{what} not fit into the GPU's memory; set {', '.join(knob for knob, helps in knobs.items() if helps)}, "
            "or lower data.batch_size"
        ) from error


def _identity(recipe: TrainRecipe, run: RunFolder, stores: dict[str, str], overwrite: bool) -> dict[str, Any]:
    """What the run is to be; of weights to take over that are gone, those that it began with."""
    name = recipe.student.knobs.get("inherit")
    return identity(recipe, stores, inherited_sha256(name) or (None if overwrite else run.inherited(name)))


def _begin(recipe: TrainRecipe, run: RunFolder, wanted: dict[str, Any], overwrite: bool, say: Say) -> None:
    """Make the run's folder ready; what another recipe or other stores made is moved aside."""
    if overwrite and run.path.is_dir():
        say(f"{run.path}: training anew, the old run is now {run.move_aside()}")
    changes = run.begin(recipe, wanted)
    if changes:
        *changed, moved = changes
        more = f" (and {len(changed) - _SHOWN} more)" if changed[_SHOWN:] else ""
        say(f"{run.path}: {', '.join(changed[:_SHOWN])}{more}; training anew, {moved}")
    if run.finished:
        say(f"{run.path}: already trained, nothing to do")
        return
    checkpoint.set_damaged_aside(run.checkpoints, say)
    changed = differences(run.versions, versions())
    if changed:
        say(f"{run.path}: begun with other packages ({changed[0]}); what comes out may differ in its last bits")


def _refuse_other_inputs(students: list[Any]) -> None:
    """RecipeError unless all students of one read see the same pixels and tokens."""

    def sees(student: Any) -> tuple[Any, ...]:
        tokens = student.tokenize(["a photo"]).tolist() if hasattr(student, "tokenize") else None
        return student.image_size, getattr(student, "patches", 0), tokens

    if any(sees(student) != sees(students[0]) for student in students[1:]):
        raise RecipeError("students: they look at different image sizes, patches or tokens; train them one by one")


def _ahead(recipe: TrainRecipe, device: torch.device) -> int:
    """How many batches to make ahead: beside a GPU two, on a CPU none, as both want the same cores."""
    if recipe.data.prefetch is not None:
        return recipe.data.prefetch
    return 0 if device.type == "cpu" else 2


def _introduction(course: Course, device: torch.device) -> str:
    parameters = sum(p.numel() for p in course.learner.student.parameters()) / 1e6
    ranks = course.learner.ranks
    return (
        f"{course.run.path}: {parameters:.2f} M parameters, {course.last} steps of "
        f"{course.recipe.data.batch_size} images on {device}"
        + (f", {ranks.world} processes" if ranks.several else "")
        + (" with a part of the weights each" if course.learner.sharded else "")
        + (f", continuing after step {course.done}" if course.done else "")
    )


def _facts(course: Course, steps: int, seconds: float) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in course.learner.student.parameters()),
        "steps": steps,
        "images_seen": steps * course.recipe.data.batch_size,
        "seconds": round(seconds, 1),
        "stores": {name: str(store.path) for name, store in course.batches.stores.items()},
        "teacher": course.batches.teacher,
    }


def _nothing(message: str) -> None:
    """What the other ranks have to say, the first one says."""


make_callable(__name__)
