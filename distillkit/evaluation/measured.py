"""A run with the rows of its evaluations, read from its folder; a baseline's lie in the folder of its run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distillkit.errors import TrainError
from distillkit.evals._answers import Answers
from distillkit.evaluation.kept import kept_in
from distillkit.evaluation.network import precision_of
from distillkit.evaluation.numbers import Numbers
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.system.best import FOLDER, is_best
from distillkit.system.wording import as_word

Place = tuple[str, str]  # an eval's name, and the table of it ("" is the main one)


@dataclass(frozen=True)
class Asking:
    """A network's answers to one table of an evaluation, and what that was made of."""

    answers: Answers
    made_of: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """`rows` of the network itself, `teacher`'s rows of the same evals, and `numbers` of evals that keep no rows.

    `made_of`: all that the student depends on (runfolder.identity), and how its weights were selected, if they were.
    `network`: what its weights are called in what is kept of it, and `folder` is where that lies. `asked`: by eval that
    keeps no rows, what its numbers were made of.
    """

    path: Path
    recipe: TrainRecipe
    facts: dict[str, Any]
    made_of: dict[str, Any]
    rows: dict[Place, Asking]
    teacher: dict[Place, Asking]
    numbers: dict[str, Numbers]
    network: str
    folder: Path
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.path)


def measured(path: Path) -> Measured:
    """TrainError where the run has not finished, or its student, as it is, was not evaluated."""
    run = RunFolder(path)
    recipe, facts = run.recipe(), run.facts()
    parent = path.absolute().parent
    chosen_by = run.weights()["selected"] if is_best(path) else None
    selected = {} if chosen_by is None else {"weights": {name: chosen_by[name] for name in ("number", "eval")}}
    for folder, who in ((path, "student"), *((place, "baseline") for place in _beside(run))):
        found = _found(folder / "evaluation", who, path / "student.safetensors")
        if found is not None:
            made_of = (run.begun_with() or {}) | selected
            rows, teacher, told, network = found
            numbers, asked = ({name: one[place] for name, one in told.items()} for place in (0, 1))
            return Measured(path, recipe, facts, made_of, rows, teacher, numbers, network, folder / "evaluation", asked)
    first = parent if path.name == "baseline" and (parent / "recipe.json").is_file() else path
    raise TrainError(f"{path}: this student has not been evaluated; run: distillkit evaluate {as_word(first)}")


def _beside(run: RunFolder) -> list[Path]:
    """The folders in whose evaluation a baseline is measured: its run's, and of selected weights its run's best/."""
    folder = run.run.absolute()
    if folder.name != "baseline":
        return []
    return [folder.parent / FOLDER, folder.parent] if is_best(run.path) else [folder.parent, folder.parent / FOLDER]


def _found(
    folder: Path, who: str, weights: Path
) -> tuple[dict[Place, Asking], dict[Place, Asking], dict[str, tuple[Numbers, dict[str, Any]]], str] | None:
    """What is kept there of the network `who`, if it is the one with these weights, and what it is called there; None
    where that is nothing.
    """
    sha256 = file_digest(weights).sha256 if weights.is_file() else ""

    def same(networks: dict[str, str]) -> bool:
        return networks.get(who, "").startswith(sha256) and who in networks

    every, records = kept_in(folder)
    rows, teacher, numbers, network = {}, {}, {}, sha256
    for kept in (kept for kept in every if same(kept.networks)):
        place, network = (kept.name, kept.table), kept.networks[who]
        asked = kept.asked | precision_of(network)
        rows[place] = Asking(kept.answers[who], asked)
        if "teacher" in kept.answers:
            teacher[place] = Asking(kept.answers["teacher"], asked)
    for record in records:
        if same(record.get("networks", {})):
            asked = record.get("made_of", {}) | precision_of(record["networks"][who])
            numbers[record["name"]] = record["numbers"][who], asked
    return (rows, teacher, numbers, network) if rows or numbers else None
