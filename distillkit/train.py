"""Stage 2, top to bottom: open the stores, build students and objectives, step.

    distillkit train-student pipelines/demo/dime_fm.toml

Rerunning continues from the last checkpoint, on the same machine bit for bit (on a GPU if `optim.deterministic`, as its
kernels else add in any order); a finished run is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import RecipeError, StoreError, TrainError
from distillkit.pixels import room
from distillkit.recipe import TrainRecipe, load, memory_bytes
from distillkit.runfolder import RunFolder
from distillkit.students._layers import refuse_uncounted
from distillkit.system import cpu
from distillkit.system.device import device_of
from distillkit.system.stopping import after_steps
from distillkit.system.wording import count
from distillkit.training import beginning, checkpoint
from distillkit.training.ahead import ahead_of
from distillkit.training.ask import Ask
from distillkit.training.batches import Batches, refuse_other_inputs
from distillkit.training.class_order import class_orders
from distillkit.training.course import Course, remarks
from distillkit.training.deterministic import deterministic
from distillkit.training.gpu_memory import fitting
from distillkit.training.gradcache import refuse_more_parts
from distillkit.training.ingredients import Ingredients
from distillkit.training.keepable import refuse_what_is_not_kept
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks, joined
from distillkit.training.rescue import leave, leaving, rescued
from distillkit.training.schedule import total_steps
from distillkit.training.trying import try_out


@cpu.settled()
def train(
    recipe: TrainRecipe | str | Path,
    say: Say = silent,
    command: str | None = None,
    *,
    overrides: Sequence[str] = (),
    ask: Ask | None = None,
    overwrite: bool = False,
    engine: str = "local",
) -> Path:
    """Train the recipe's student, or its students, then the baseline if it has one; returns the run folder.

    `recipe` may be a file, with `overrides` such as "optim.lr=3e-4". `command` is what reports tell. `ask` stands in
    for the stores (live.py). `overwrite`: begin anew; what was there is moved aside. Without it a run of another recipe
    that has steps is a TrainError. Under torchrun every process calls this, and each computes a share; with `engine`
    "ray" the workers of the recipe's [ray] do.
    """
    recipe = recipe if isinstance(recipe, TrainRecipe) else load(recipe, list(overrides), kind=TrainRecipe)
    if engine == "ray":
        _train_on_ray(recipe, say, command, overwrite)
        return recipe.folder
    if recipe.data.source == "live" and ask is None:
        raise RecipeError("data.source: a live teacher is built by the caller; pass ask=distillkit.live.Live(recipe)")
    room.limit_to(memory_bytes(recipe.data.memory) if recipe.data.memory else None)
    device = device_of(recipe.device, error=TrainError)
    with deterministic(recipe.optim, device), joined(device) as ranks:
        heard = say if ranks.first else silent
        alone = recipe.alone()
        for line in class_orders(recipe) if ranks.first else ():
            heard(line)
        baselines = [baseline for one in alone if (baseline := one.of_baseline())]
        read = train_together(alone, device, ranks, heard, command, ask, overwrite, then=baselines)
        if baselines:
            train_together(baselines, device, ranks, heard, command, ask, overwrite=False, read=read)
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
    read: beginning.Read | None = None,
) -> beginning.Read:
    """Students over the same batches, from wherever their run folders stand to the end; returns what they read.

    `then`: the baselines that come after them. What those are refused for is told now. `read`: what
    the students read whose baselines these are; TrainError where another store took a place of those since.
    """
    runs = [RunFolder(recipe.folder) for recipe in recipes]
    if ranks.first:
        beginning.refuse_other_things(runs, overwrite)
    with ExitStack() as locks:
        for run in runs if ranks.first else ():
            locks.enter_context(run.locked())
        # All that can be refused is refused before an older run is moved aside.
        students, batches, objectives = _opened(recipes, ranks, ask)
        digests = beginning.read_of(batches.ingredients.stores, read or {})
        if then:
            _try_baselines(then, ranks, ask, overwrite)
        with ranks.one_first():  # it may look through many masks, and nobody waits in a collective meanwhile
            if ranks.first:
                _begin_runs(recipes, runs, students, batches.ingredients, overwrite, say, command)
        finished = ranks.told([run.finished for run in runs])
        todo = [number for number, done in enumerate(finished) if not done]
        if not todo:
            return digests
        recipes, runs = [recipes[number] for number in todo], [runs[number] for number in todo]
        students, objectives = [students[number] for number in todo], [objectives[number] for number in todo]
        batches.narrow(set().union(*(objective.needs for objective in objectives)))
        batches.go_to(device)
        with fitting("the student alone does", recipes[0].optim):
            learners = [
                Learner(
                    student,
                    objective,
                    recipe.optim,
                    seed=recipe.seed,
                    device=device,
                    ranks=ranks,
                    fresh=not checkpoint.begun(run.checkpoints),
                )
                for recipe, run, student, objective in zip(recipes, runs, students, objectives, strict=True)
            ]
        _train(recipes, runs, learners, batches, say, command)
        return digests


def _begin_runs(
    recipes: list[TrainRecipe],
    runs: list[RunFolder],
    students: list[Any],
    ingredients: Ingredients,
    overwrite: bool,
    say: Say,
    command: str | None,
) -> None:
    """Try out every run that does not stand as it is wanted, and only then begin them: moving one aside is last."""
    wanted = beginning.all_wanted(recipes, runs, ingredients.stores, overwrite)
    for recipe, run, one, student in zip(recipes, runs, wanted, students, strict=True):
        if overwrite or not run.stands(one):
            ingredients.try_out()
            try_out(recipe, run, student, say)
    for recipe, run, one in zip(recipes, runs, wanted, strict=True):
        beginning.begin(recipe, run, one, overwrite, say, command)


def _try_baselines(recipes: Sequence[TrainRecipe], ranks: Ranks, ask: Ask | None, overwrite: bool) -> None:
    try:
        stores = _opened(recipes, ranks, ask)[1].ingredients.stores
        if ranks.first:
            beginning.all_wanted(recipes, [RunFolder(recipe.folder) for recipe in recipes], stores, overwrite)
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
        refuse_more_parts(recipe.optim.accumulate, recipe.data, ranks)
        refuse_uncounted(students[-1], recipe.optim.layer_decay)
        widths = batches.widths(students[-1])
        rounded = recipe.optim.loss_products == "bf16"
        objectives.append(Objective(recipe.losses, widths, mixed=recipe.data.augment.mixes, rounded=rounded))
        refuse_what_is_not_kept(students[-1], objectives[-1])
    refuse_other_inputs(students)
    return students, batches, objectives


def _train(
    recipes: list[TrainRecipe],
    runs: list[RunFolder],
    learners: list[Learner],
    batches: Batches,
    say: Say,
    command: str | None,
) -> None:
    recipe, ranks = recipes[0], learners[0].ranks
    last = total_steps(batches.steps_per_epoch, recipe.optim)
    with ranks.one_first():
        batches.prepare(say)
    for note in batches.notes:
        say(note)
    courses: list[Course] = []
    with rescued(courses, say):
        with ExitStack() as open_courses:
            for one, run, learner in zip(recipes, runs, learners, strict=True):
                course = Course(one, run, learner, batches.ingredients, last, say)
                courses.append(open_courses.enter_context(course))
            for course in courses:
                course.begin(shown=course is courses[0], named=len(courses) > 1)
            with fitting(f"{count(recipe.data.batch_size, 'image')} do", recipe.optim), after_steps():
                _steps(courses, batches, last, say)
        for course in courses:
            course.finish(command)
    ranks.wait()


def _steps(courses: Sequence[Course], batches: Batches, last: int, say: Say) -> None:
    learners, recipe = [course.learner for course in courses], courses[0].recipe
    for course in courses:
        course.catch_up()
    first = min(course.done for course in courses)
    for batch in batches.stream(first, last, ahead_of(recipe.data.prefetch, learners[0].device)):
        for line in remarks(courses, batch) if batch.step == 0 else ():
            say(line)
        for course in courses:
            # One that is further on than the others waits for them; none sees a batch twice.
            if course.done <= batch.step:
                course.step(batch, batches.wait_seconds)
        if leaving(learners) and batch.step + 1 < last:
            leave(courses, batch.step + 1, say)


make_callable(__name__)
