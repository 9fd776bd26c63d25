"""Arms and seeds as recipes to be trained, in an order in which each finds what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.claims.file import Arm, ClaimsFile
from distillkit.errors import RecipeError
from distillkit.recipe import TrainRecipe, load
from distillkit.recipe.schema import validate

_RUN = re.compile(r"\{run:([^}]*)\}")


@dataclass(frozen=True)
class Trial:
    """One arm with one seed. `needs`: the folders of runs that have to be finished before."""

    arm: Arm
    seed: int
    recipe: TrainRecipe
    needs: tuple[Path, ...]

    @property
    def name(self) -> str:
        return f"{self.arm.name}@{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """Where runs of a file of claims lie, and whether it is the quick look at them."""

    file: ClaimsFile
    runs: Path
    quick: bool

    @property
    def name(self) -> str:
        return f"{self.file.name}_quick" if self.quick else self.file.name

    @property
    def seeds(self) -> list[int]:
        return self.file.quick.seeds if self.quick else self.file.seeds

    def folder(self, arm: str, seed: int) -> Path:
        return self.runs / self.name / f"{arm}@{seed}"


def all_trials(experiment: Experiment) -> list[Trial]:
    """Everything to be trained: all arms of a seed before the next seed, so that an early stop has whole seeds.

    RecipeError for an arm whose recipe cannot be, or that needs itself.
    """
    return [
        one
        for seed in experiment.seeds
        for one in in_order([trial_of(experiment, arm, seed) for arm in experiment.file.arms])
    ]


def trial_of(experiment: Experiment, arm: Arm, seed: int) -> Trial:
    """The recipe of one arm, checked."""
    needs: list[str] = []

    def filled(line: str) -> str:
        for name in _RUN.findall(line):
            if name not in {other.name for other in experiment.file.arms}:
                raise RecipeError(f"{experiment.file.name}: arm {arm.name}: {line}: no arm {name!r}")
            needs.append(name)
        return _RUN.sub(lambda found: str(experiment.folder(found[1], seed)), line)

    recipe = load(arm.recipe, [filled(line) for line in (*experiment.file.lines, *arm.lines)], kind=TrainRecipe)
    if arm.baseline:
        baseline = recipe.of_baseline()
        if baseline is None:
            raise RecipeError(f"{experiment.file.name}: arm {arm.name}: {arm.recipe} has no [baseline]")
        recipe = baseline
    evals = [component.model_dump(mode="json") for component in experiment.file.evals]
    content = recipe.model_dump(mode="json", exclude={"student"} if recipe.students else None)
    # A note is about the recipe as it ships.
    content |= {"baseline": None, "evals": evals, "validation": None, "seed": seed, "note": None}
    content = _strings(content, arm.replace)
    if experiment.quick:
        content = _strings(content, experiment.file.quick.replace)
        for place, most in experiment.file.quick.most.items():
            _cut(content, place.split("."), most)
    folder = experiment.folder(arm.name, seed)
    content |= {"name": f"{experiment.name} {arm.name}@{seed}", "out": str(folder)}
    made = validate(TrainRecipe, content, f"{experiment.file.name}: arm {arm.name}")
    return Trial(arm, seed, made, tuple(experiment.folder(name, seed) for name in dict.fromkeys(needs)))


def in_order(trials: list[Trial]) -> list[Trial]:
    """Each after what it needs, else as they were."""
    made: list[Trial] = []
    left = list(trials)
    while left:
        folders = {one.recipe.folder for one in left}
        ready = [one for one in left if not folders.intersection(one.needs)]
        if not ready:
            raise RecipeError(f"arms need each other: {', '.join(one.arm.name for one in left)}")
        made.append(ready[0])
        left.remove(ready[0])
    return made


def _strings(content: Any, replace: dict[str, str]) -> Any:
    """`content` with every string that begins with a key of `replace` beginning otherwise, the longest key first."""
    if not replace:
        return content
    return _mapped(content, lambda text: _other_beginning(text, replace))


def _other_beginning(text: str, replace: dict[str, str]) -> str:
    found = next((key for key in sorted(replace, key=len, reverse=True) if text.startswith(key)), None)
    return text if found is None else replace[found] + text.removeprefix(found)


def _mapped(content: Any, change: Callable[[str], str]) -> Any:
    if isinstance(content, str):
        return change(content)
    if isinstance(content, dict):
        return {key: _mapped(value, change) for key, value in content.items()}
    return [_mapped(value, change) for value in content] if isinstance(content, list) else content


def _cut(content: Any, place: Iterable[str], most: float) -> None:
    """A number of a recipe made `most` where it is more; a place that a recipe has not is left so."""
    *parents, last = place
    for name in parents:
        content = content.get(name) if isinstance(content, dict) else None
    value = content.get(last) if isinstance(content, dict) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > most:
        content[last] = type(value)(most)
