"""What a training run will take, from its first steps: made in memory, nothing is written anywhere.

distillkit train-student RECIPE --plan
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from distillkit.errors import TrainError
from distillkit.recipe import TrainRecipe, load
from distillkit.students._layers import refuse_uncounted
from distillkit.system import cpu
from distillkit.system.device import device_of
from distillkit.system.wording import count
from distillkit.system.wording import pace as rate_of
from distillkit.training import checkpoint
from distillkit.training.ask import Ask
from distillkit.training.batches import Batches
from distillkit.training.beginning import there
from distillkit.training.gradcache import refuse_more_parts
from distillkit.training.keepable import refuse_what_is_not_kept
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.pixel_cache import exists
from distillkit.training.pixel_costs import PixelCosts, clock
from distillkit.training.pixels import Pixels
from distillkit.training.progress import memory
from distillkit.training.ranks import Ranks
from distillkit.training.schedule import learning_rate, total_steps
from distillkit.types import Batch

_WARM, _PROBE, _PACE = 3, 20, 5
_MOST = 256 << 20  # bytes read to see how fast the disk is


@cpu.settled()
def pace(recipe: TrainRecipe) -> tuple[int, float]:
    """Steps of a recipe with one student, and seconds a step from its first ones."""
    batches, learner, steps = _opened(recipe, device_of(recipe.device, error=TrainError), None)
    _as_if_cached(batches.rendering.pixels, recipe)
    return steps, _probe(learner, batches, recipe, min(_WARM + _PACE, steps))[0]


@cpu.settled()
def forecast(recipe: TrainRecipe | str | Path, ask: Ask | None = None, *, overrides: Sequence[str] = ()) -> list[str]:
    """Steps, time, memory, bytes a second against the disk's, and what pixels cost, a line each; nothing is trained.

    `recipe` may be a file, with `overrides` such as "optim.lr=3e-4". `ask` stands in for the stores, as in `train`.
    """
    if not isinstance(recipe, TrainRecipe):
        recipe = load(recipe, list(overrides), kind=TrainRecipe)
    device = device_of(recipe.device, error=TrainError)
    lines = []
    for one in recipe.alone():
        batches, learner, steps = _opened(one, device, ask)
        ingredients, rendered = batches.ingredients, batches.rendering.pixels
        costs, lacking = _as_if_cached(rendered, one)
        seconds, size = _probe(learner, batches, one, min(_WARM + _PROBE, steps))
        waited = batches.wait_seconds / seconds / max(min(_PROBE, steps - _WARM), 1)
        wanted, disk = size / seconds, _disk(ingredients.first.path)
        rows = sum(len(images.store.ok_rows) for images in ingredients.images)
        lines += [
            f"{one.folder}",
            *there(one, ingredients.stores),
            f"steps        {steps:,} of {count(one.data.batch_size, 'image')}, "
            f"{ingredients.steps_per_epoch:,} an epoch",
            f"time         {clock(steps * seconds)} at {1000 * seconds:.0f} ms a step, "
            f"{rate_of(one.data.batch_size / seconds, 'images')}, {100 * waited:.0f}% waiting for data"
            + (", as if the pixel cache were made already" if lacking else ""),
            f"memory       {memory(device) / 1e9:.2f} GB so far, on {device}",
            f"features     {wanted / 1e6:.2f} MB/s of the {disk / 1e6:,.0f} MB/s that this disk reads in sequence",
            f"checkpoints  {checkpoint.size(learner.model, learner.optimizer) / 1e6:,.1f} MB each, "
            f"{one.checkpoints.keep} are kept",
            *(costs.report(rows, steps * one.data.batch_size) if costs else []),
            *_baseline(one, seconds, device, ask),
        ]
    return lines


def _baseline(one: TrainRecipe, seconds: float, device: torch.device, ask: Ask | None) -> list[str]:
    """What comes after the student and is not in the lines above."""
    baseline = one.of_baseline()
    if baseline is None:
        return []
    batches, _, steps = _opened(baseline, device, ask)
    told = there(baseline, batches.ingredients.stores)
    return [*told, f"baseline     {count(steps, 'step')} after that, {clock(steps * seconds)} at the student's pace"]


def _opened(one: TrainRecipe, device: torch.device, ask: Ask | None) -> tuple[Batches, Learner, int]:
    """Batches, a learner that is ready for its first step, and how many steps there are."""
    torch.manual_seed(one.seed)
    student = one.student.build("students")
    batches = Batches(one.data, one.seed, student, ask=ask)
    refuse_more_parts(one.optim.accumulate, one.data, Ranks())
    refuse_uncounted(student, one.optim.layer_decay)
    objective = Objective(one.losses, batches.ingredients.widths(student), mixed=one.data.augment.mixes)
    refuse_what_is_not_kept(student, objective)
    batches.narrow(objective.needs)
    batches.go_to(device)
    learner = Learner(student, objective, one.optim, seed=one.seed, device=device, ranks=Ranks())
    return batches, learner, total_steps(batches.ingredients.steps_per_epoch, one.optim)


def _as_if_cached(rendered: list[Pixels], one: TrainRecipe) -> tuple[PixelCosts | None, list[Pixels]]:
    """What pixels cost, where this process decodes them; a pixel cache that lacks is stood in for, and told."""
    costs = PixelCosts(rendered[0]) if rendered and one.data.augment.resample != "nvjpeg" else None
    lacking = [pixels for pixels in rendered if costs and _lacks_cache(pixels)]
    if costs:
        for pixels in lacking:
            pixels.opened = costs.sampled[one.data.pixel_cache_format]
    return costs, lacking


def _lacks_cache(pixels: Pixels) -> bool:
    size, form = pixels.data.pixel_cache, pixels.data.pixel_cache_format
    return size is not None and not exists(pixels.images.store, size, form)


def _probe(learner: Learner, batches: Batches, recipe: TrainRecipe, stop: int) -> tuple[float, int]:
    """Seconds a step, and bytes of teacher features in a batch; the first steps are not counted if there are more."""
    warm, size, started = min(_WARM, stop - 1), 0, time.perf_counter()
    batches.prepare()
    for batch in batches.stream(0, stop):
        if batch.step == warm:
            batches.wait_seconds, started = 0.0, time.perf_counter()
        size = _bytes(batch)
        lr = learning_rate(batch.step, batches.steps_per_epoch, recipe.optim)
        learner.step(batch.to(learner.device), lr)
    return (time.perf_counter() - started) / (stop - warm), size


def _bytes(batch: Batch) -> int:
    sides = (batch.teacher, *batch.others.values())
    values = [getattr(side, name) for side in sides for name in type(side).__dataclass_fields__]
    return sum(value.nbytes for value in values if value is not None)


def _disk(store: Path) -> float:
    """Bytes a second that the disk gives when it must: the largest file of a store, thrown out of memory before."""
    largest = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with largest.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started, read = time.perf_counter(), 0
        while read < _MOST and (part := file.read(1 << 20)):
            read += len(part)
    return read / max(time.perf_counter() - started, 1e-9)
