"""Run evaluations: those that a recipe names, or any others; student, baseline and teacher, through the same code.

    distillkit evaluate runs/dime_fm
    distillkit evaluate runs/dime_fm runs/clip_kd --eval pipelines/evals/mine.toml

The teacher is read from the stores; only students compute anything. Out come, in the run folder, a row for each item
(evaluation/), the numbers that are made of them (evaluation.json), and report.md and report.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from distillkit.callable import Say, make_callable, silent
from distillkit.evals._class_order import orders_of
from distillkit.evals._encode import Encode, OpenStore
from distillkit.evaluation.asked import Asked, asked_of, name_of, teacher_of, typed_as
from distillkit.evaluation.encode import Student, Teacher
from distillkit.evaluation.files import Contents
from distillkit.evaluation.formats import export
from distillkit.evaluation.kept import Kept
from distillkit.evaluation.network import embedding, network_of, pace_of
from distillkit.evaluation.numbers import numbers
from distillkit.evaluation.replaced import none_replaced
from distillkit.evaluation.result import (
    FILE,
    Result,
    changed_since,
    done,
    known_of,
    same_as_before,
    unfinished,
    write_result,
)
from distillkit.evaluation.turn import in_turn
from distillkit.originals import by_place, moved
from distillkit.recipe import EvalRecipe, TrainRecipe, changed, load
from distillkit.recipe.only import only
from distillkit.report import write_report
from distillkit.report.weights import measured_weights
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import cpu
from distillkit.system.atomic import parsed_json
from distillkit.system.device import device_of
from distillkit.system.fitting import fitting
from distillkit.system.paths import expand, here
from distillkit.system.progress import heard_by
from distillkit.system.record import digest
from distillkit.system.temporary import tidy_below
from distillkit.system.wording import Usual


def evaluate(
    path: str | Path,
    say: Say = silent,
    *,
    evals: str | Path | None = None,
    overrides: Sequence[str] = (),
    names: Sequence[str] = (),
    page: bool = False,
) -> Path:
    """Evaluate the finished run at `path`; returns the path of its report. What has not changed is not done again.

    `evals`: a file of other evaluations than the recipe's. `overrides`, such as "evaluation.autocast=true", change that
    file, or the run's recipe. `names`: these evals alone. `page`: write the report anew, also where nothing is new.
    """
    return evaluate_all([path], say, evals=evals, overrides=overrides, names=names, page=page)[0]


@cpu.settled()
def evaluate_all(
    paths: Sequence[str | Path],
    say: Say = silent,
    *,
    evals: str | Path | None = None,
    overrides: Sequence[str] = (),
    names: Sequence[str] = (),
    page: bool = False,
) -> list[Path]:
    """The same of several runs. All that can be refused is refused before any of them is measured.

    `names`: of the evals these alone. `page`: write the reports anew, also where nothing is left to measure.
    """
    other = None if evals is None else load(evals, list(overrides), kind=EvalRecipe)
    typed = typed_as(evals, overrides, names)
    contents = Contents()
    with heard_by(say):
        jobs = [_job(here(path), other, list(overrides), names, typed, contents) for path in paths]
    return [_evaluated(job, say, page) for job in jobs]


@cpu.settled()
def evaluate_teacher(
    store: str | Path,
    evals: str | Path,
    out: str | Path = "runs/teacher",
    say: Say = silent,
    *,
    overrides: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Path:
    """The teacher of a store alone, by the evals of a file, into the folder `out`. Returns its evaluation.json."""
    recipe = load(evals, list(overrides), kind=EvalRecipe)
    made_by = FeatureStore(expand(str(store)))
    fingerprint = teacher_of(made_by)
    open_store = lru_cache(lambda name: FeatureStore(expand(name)))
    with heard_by(say):
        chosen, roots = only(recipe.evals, names, name_of, "eval"), by_place(recipe.roots)
        known = known_of(here(out))
        asked = asked_of(chosen, open_store, fingerprint, str(made_by.path), roots=roots, known=known)
    kept = Kept(here(out) / "evaluation", {"teacher": digest(fingerprint)}, say)
    learns_on = device_of(recipe.device or "auto")
    found = _measured(asked, kept, {"teacher": Teacher(learns_on, roots)}, open_store, say)
    result = Result(found, asked, kept.networks, {"roots": recipe.roots}, typed_as(evals, overrides, names))
    with in_turn(here(out), say):
        return _merged(here(out), result, kept, open_store)


def write_as(folder: str | Path, form: str) -> Path:
    """The numbers of an evaluated folder in the files of another tool (evaluation/formats.py), and where they are."""
    folder = here(folder)
    evaluation = parsed_json((folder / FILE).read_bytes())
    return export(folder / "evaluation" / form, form, evaluation, folder.name)


@dataclass(frozen=True)
class _Job:
    """One run, and what it is asked. `recipe` is the run's, changed as the command line says; `typed`: how a
    file of evals was asked for.
    """

    run: RunFolder
    recipe: TrainRecipe
    baseline: RunFolder | None
    asked: list[Asked]
    open_store: OpenStore
    typed: list[str]


def _job(
    path: Path,
    other: EvalRecipe | None,
    overrides: list[str],
    names: Sequence[str],
    typed: list[str],
    contents: Contents,
) -> _Job:
    run = RunFolder(path)
    recipe = run.recipe()
    recipe = changed(recipe, overrides, str(run.path)) if other is None else recipe.measured_by(other)
    open_store = lru_cache(lambda name: FeatureStore(expand(name), recipe.data.teacher))
    evals = only(recipe.evals, names, name_of, "eval")
    whose, roots = f"{run.path} was trained with", moved(recipe.data)
    asked = asked_of(evals, open_store, run.facts()["teacher"], whose, contents, roots, known_of(run.path))
    baseline = run.baseline if recipe.baseline is not None else None
    if baseline is not None:
        baseline.recipe()
    return _Job(run, recipe, baseline, asked, open_store, typed)


def _evaluated(job: _Job, say: Say, page: bool) -> Path:
    run, recipe = job.run, job.recipe
    folders = {"student": run} | ({"baseline": job.baseline} if job.baseline else {})
    networks = {"teacher": digest(run.facts()["teacher"])} | {
        who: network_of(folder, recipe) for who, folder in folders.items()
    }
    if not job.asked:
        say(
            f"{run.path}: its recipe has no [[evals]], so nothing is measured; add some, or name a file of them "
            "with --eval"
        )
    kept = Kept(run.path / "evaluation", networks, say)
    if all(kept.has(one) for one in job.asked) and same_as_before(run.path, job.asked, networks):
        if page:
            say(f"{run.path}: already evaluated; its report is written anew, of what was kept")
            with in_turn(run.path, say):
                return _reported(job)
        tidy_below(run.path)
        say(Usual(f"{run.path}: already evaluated, nothing to do; add --page to write its report anew"))
        return run.path / "report.html"
    for line in changed_since(run.path, [one for one in job.asked if not kept.has(one)], networks):
        say(f"{run.path}: {line}")
    pace, roots = pace_of(recipe, say), moved(recipe.data)
    students = {
        who: Student(folder.load_student, roots, pace, embedding(kept.folder, networks[who]), str(folder.path))
        for who, folder in folders.items()
    }
    found = _measured(job.asked, kept, {"teacher": Teacher(pace.device, roots), **students}, job.open_store, say)
    weights = {who: folder.weights() for who, folder in folders.items()}
    own_texts = bool(job.asked) and students["student"].has_texts
    facts = {"own_texts": own_texts, "roots": recipe.data.moved, "weights": weights}
    say(Usual(f"{run.path}: {measured_weights(run, job.baseline, [one.component for one in job.asked])}"))
    with in_turn(run.path, say):
        unfinished(run.path)  # what the proof speaks of is another evaluation from here on
        _merged(run.path, Result(found, job.asked, networks, facts, job.typed), kept, job.open_store)
        return _reported(job)


def _merged(folder: Path, result: Result, kept: Kept, open_store: OpenStore) -> Path:
    """evaluation.json with this result and what others have found, over the rows that it was made of."""
    for one in result.asked:
        kept.keep_still(one)
    return write_result(folder, result, open_store)


def _reported(job: _Job) -> Path:
    """The report of what evaluation.json says; whoever is stopped meanwhile finds it unfinished."""
    unfinished(job.run.path)
    with none_replaced(job.asked, job.recipe.data.teacher):
        report = write_report(job.run, job.baseline)
    done(job.run.path)
    return report


def _once(say: Say) -> Say:
    """What every network would be told anew of the stores of one eval is told of the first."""
    told = set[str]()

    def hear(line: str) -> None:
        if line not in told:
            told.add(line)
            say(line)

    return hear


def _measured(
    asked: Sequence[Asked], kept: Kept, encoders: Mapping[str, Encode], open_store: OpenStore, say: Say
) -> dict[str, dict[str, Any]]:
    """By eval and network, what was found; each is told as it comes."""
    found: dict[str, dict[str, Any]] = {}
    for line in dict.fromkeys(line for one in asked for line in (*orders_of(one.measure, open_store), *one.remarks)):
        say(line)
    for one in asked:
        with fitting(f"evals {one.name}", "lower evaluation.batch_size"), heard_by(_once(say)):
            found[one.name] = kept.measure(one, encoders, open_store)
        if hasattr(one.measure, "together"):
            found[one.name] = one.measure.together(found[one.name])
        for who, result in found[one.name].items():
            told = "  ".join(f"{name} {value:.4g}" for name, value in numbers(result).items() if "." not in name)
            say(Usual(f"{one.name}: {who:9} {told}"))
    return found


make_callable(__name__)
