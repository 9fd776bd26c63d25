"""Runs as the arms of a comparison: those that differ by their seed alone are one, and each recipe's differences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from distillkit.errors import TrainError
from distillkit.evaluation.comparison import Arm
from distillkit.evaluation.measured import Measured
from distillkit.identity import as_begun
from distillkit.recipe import differences
from distillkit.store.format.sameness import other_teacher, teacher_in_short
from distillkit.system.record import digest

TEACHER = "teacher"


def arms_of(runs: Sequence[Measured], baseline: Path | None) -> list[Arm]:
    """In the order of the runs, the baseline first. TrainError for runs of different teachers, or a run named twice."""
    _refuse_different_teachers(runs)
    groups: dict[str, list[Measured]] = {}
    made: list[dict[str, Any]] = []
    for run in runs:
        # A store that was moved between two runs is no other one.
        made.append(reduce(as_begun, made, _recipe_of(run)))
        groups.setdefault(digest(made[-1]), []).append(run)
    for group in groups.values():
        _refuse_twice(group)
    ordered = list(groups.values())
    if baseline is not None:
        first = next(group for group in ordered if any(one.path == baseline for one in group))
        ordered = [first, *(group for group in ordered if group is not first)]
    return [_arm(group, ordered[0][0]) for group in ordered]


def teacher_arm(baseline: Arm) -> Arm:
    """The teacher beside the students: its rows are those that the first run's evaluation kept."""
    facts = baseline.runs[0].facts["teacher"]
    return Arm(TEACHER, (), parameters=facts.get("parameters", {}).get("image"))


def _arm(group: list[Measured], first: Measured) -> Arm:
    one = group[0]
    weights = one.path / "student.safetensors"
    return Arm(
        name=one.name if len(group) == 1 else f"{one.name} and {len(group) - 1} more",
        runs=tuple(group),
        seeds=tuple(run.recipe.seed for run in group),
        differs=tuple(differences(_recipe_of(first), as_begun(_recipe_of(one), _recipe_of(first))))
        if one is not first
        else (),
        parameters=one.facts.get("parameters"),
        file_bytes=weights.stat().st_size if weights.is_file() else None,
        seconds=one.facts.get("seconds"),
    )


def _recipe_of(run: Measured) -> dict[str, Any]:
    """What makes a student, but for the seed."""
    recipe = {key: value for key, value in run.made_of.get("recipe", {}).items() if key != "seed"}
    return run.made_of | {"recipe": recipe}


def _refuse_twice(group: list[Measured]) -> None:
    seeds = [run.recipe.seed for run in group]
    for place, run in enumerate(group):
        if run.recipe.seed in seeds[:place]:
            other = group[seeds.index(run.recipe.seed)]
            raise TrainError(
                f"{other.name} and {run.name}: the same recipe and the same seed, there is nothing to compare; name one"
            )


def _refuse_different_teachers(runs: Sequence[Measured]) -> None:
    want = runs[0].facts["teacher"]
    for run in runs[1:]:
        have = run.facts["teacher"]
        told = other_teacher(want, have)
        if told is None:
            continue
        who, whom = teacher_in_short(want), teacher_in_short(have)
        others = f"{who} and {whom}" if who != whom else f"both {who}, but {told}"
        raise TrainError(
            f"{runs[0].name} and {run.name}: they learned from different teachers ({others}), and cannot be "
            "compared; name students of one teacher"
        )
