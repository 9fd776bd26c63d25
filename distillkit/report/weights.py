"""Which of a student's weights were measured, and on what they were selected, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distillkit.errors import DistillkitError
from distillkit.evals._encode import stores_of
from distillkit.evaluation.arms import arms_of
from distillkit.evaluation.compared import compared
from distillkit.evaluation.comparison import Line
from distillkit.evaluation.measured import measured
from distillkit.recipe import Component
from distillkit.report.words import count, listing, named, percent
from distillkit.runfolder import RunFolder
from distillkit.system.best import FOLDER, is_best


def measured_weights(run: RunFolder, baseline: RunFolder | None, evals: Sequence[Component]) -> str:
    """Such as "The weights are those of the last step, 1,250." `evals`: by which they were measured."""
    own = run.weights()
    told = [
        f"The weights are {_which(own)}.",
        *_beside(run),
        *_too_good(own["selected"], evals),
        *_worse_than_last(run),
    ]
    if baseline is not None and (own["selected"] or baseline.weights()["selected"]):
        told.append(f"The baseline's are {_which(baseline.weights())}.")
    return " ".join(told)


def _which(weights: dict[str, Any]) -> str:
    if weights["selected"] is None:
        return "those of the last step" + (f", {count(weights['step'])}" if weights["step"] else "")
    chosen = weights["selected"]
    of = f" of {count(weights['of'])}" if weights["of"] else ""
    by = f"best {chosen['number']} ({chosen['value']:.4g})"
    return f"those of step {count(weights['step'])}{of}, selected for the {by} of {_named(chosen['eval'])}"


def _beside(run: RunFolder) -> list[str]:
    """That other weights of this student lie in best/, where they do: who measures the last ones may mean those."""
    best = run.path / FOLDER
    if is_best(run.path) or not is_best(best):
        return []
    try:
        step = RunFolder(best).weights()["step"]
    except DistillkitError:  # what is damaged there is told to those who ask for it
        return []
    return [f"{best} has those of step {count(step)}, which did best in validation and are evaluated apart."]


def _named(eval_: dict[str, Any] | None) -> str:
    stores = listing(sorted(_seen(eval_)))
    return " on ".join(filter(None, ["the validation" if eval_ is None else str(eval_["kind"]), stores]))


def _too_good(selected: dict[str, Any] | None, evals: Sequence[Component]) -> list[str]:
    """A warning where the student is measured on what it was selected on: of many weights the luckiest did best."""
    chosen_on = _seen(selected["eval"]) if selected else set()
    names = [one.knobs.get("name") or one.kind for one in evals if chosen_on & _seen(one.model_dump())]
    return [f"They were selected on images of {named(names)}, so these numbers flatter them."] if names else []


def _worse_than_last(run: RunFolder) -> list[str]:
    """In what selected weights do worse than those of the last step; nothing where these were not measured as well."""
    if run.run == run.path:
        return []
    try:
        found = compared(arms_of([measured(run.run), measured(run.path)], None))
    except DistillkitError:  # the last ones were not asked the same, or what is kept of them is damaged
        return []
    worse = [_fell(line) for line in found.lines if _verdict(line) == "worse"]
    return [f"By a paired test they are worse than those of the last step in {listing(worse)}."] if worse else []


def _verdict(line: Line) -> str:
    against = list(line.cells.values())[1].against
    return against.verdict.word if against else ""


def _fell(line: Line) -> str:
    last, selected = (percent(one.value) if line.share else f"{one.value:.4g}" for one in line.cells.values())
    return f"{line.measure.name} of {line.eval} ({selected} against {last})"


def _seen(eval_: dict[str, Any] | None) -> set[str]:
    """The stores that an evaluation reads."""
    return set() if eval_ is None else set(stores_of(Component(**eval_).build("evals")))
