"""A run's folder before the first step: continued or begun, and what another recipe or other stores made set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.errors import OtherRun, RecipeError, TrainError
from distillkit.evaluation.unseen import measured_in_training
from distillkit.identity import NAMES, as_begun, class_names_sha256, identity, inherited_sha256
from distillkit.recipe import TrainRecipe, differences
from distillkit.recipe.own_code import own_code
from distillkit.runfolder import RunFolder
from distillkit.store.format.plan import FILE_NAME as PLAN
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.system.temporary import tidy_below
from distillkit.system.versions import by_another, versions
from distillkit.system.wording import Usual, count
from distillkit.training import checkpoint

Read = dict[tuple[str, Path], str]  # digests of stores, by their name in a recipe and their place

_SHOWN = 6  # changes of a recipe that are told one by one
_STEPS = ("checkpoints", "metrics.jsonl", "student.json")


def refuse_other_things(runs: Sequence[RunFolder], overwrite: bool) -> None:
    """TrainError where a folder is not a run's, and cannot become one."""
    for run in runs:
        if told := _strange(run.path, overwrite):
            raise (TrainError if _strange(run.path, overwrite=True) else OtherRun)(told)


def read_of(stores: Mapping[str, FeatureStore], before: Read) -> Read:
    """What these stores hold. TrainError where a student that is to be compared read another one there `before`.

    A training may take days, and a store may grow or be mended meanwhile.
    """
    found = {(name, store.path): store.digest for name, store in stores.items()}
    for (name, path), digest in found.items():
        if before.get((name, path), digest) != digest:
            raise TrainError(
                f"baseline: {path}: another store took its place since the student was trained from it (it grew, or "
                "was mended), and the two are to learn from the same; put the one that was set aside beside it back "
                "and run the same command again, or train both anew with --overwrite"
            )
    return found


def all_wanted(
    recipes: Sequence[TrainRecipe], runs: Sequence[RunFolder], stores: Mapping[str, FeatureStore], overwrite: bool
) -> list[dict[str, Any]]:
    """What the runs are to be; TrainError before any is touched, where steps of another recipe would be set aside.

    Who trained for days under a name that is taken by accident wants to be asked, as of a store.
    """
    digests = {name: store.digest for name, store in stores.items()}
    found = [wanted(*one, digests, overwrite) for one in zip(recipes, runs, strict=True)]
    for run, one in () if overwrite else zip(runs, found, strict=True):
        if told := _other(run, one):
            raise OtherRun(
                f"{run.path}: {told}. Nothing was touched: undo the change, give it another `name`, move the folder "
                "away, or add --overwrite, which keeps the old run beside it"
            )
    for run in runs:
        tidy_below(run.path)
        tidy_below(run.checkpoints, folders=True)
    return found


def there(recipe: TrainRecipe, stores: Mapping[str, FeatureStore] | None = None) -> list[str]:
    """A line for a plan, where training would stop at the steps of another recipe. Without `stores` they count as the
    ones that the run began with: they may not be here yet.
    """
    run = RunFolder(recipe.folder)
    begun = run.begun_with()
    if begun is None:
        return [f"there        {told}" for told in [_strange(run.path, overwrite=False)] if told]
    digests = begun["stores"] if stores is None else {name: store.digest for name, store in stores.items()}
    told = _other(run, wanted(recipe, run, digests, overwrite=False))
    cure = "train-student stops there: go on with another `name`, or with --overwrite"
    return [f"there        {run.path} {told}; {cure}"] if told else []


def _strange(folder: Path, overwrite: bool) -> str | None:
    """Why nothing is to be trained here: the folder is another thing, or lies in one that may be moved or removed."""
    if (folder / "recipe.json").is_file():
        return None
    here = folder.absolute()
    store = next((one for one in (here, *here.parents) if (one / PLAN).is_file()), None)
    runs = [one.parent.name for one in sorted(folder.glob("*/recipe.json")) if one.parent.name != "baseline"]
    if store is not None or (folder / VIEW).is_file():
        of = "is a feature store" if store in (None, here) else f"lies in the feature store {store}"
        return f"{folder}: {of}, not the folder of a run; set out to another"
    if runs:
        more = f" and {len(runs) - _SHOWN:,} more" if runs[_SHOWN:] else ""
        return f"{folder}: holds the runs {', '.join(runs[:_SHOWN])}{more}, and is none; set out to another folder"
    if not overwrite and any((folder / name).exists() for name in _STEPS):
        return (
            f"{folder}: holds steps of a run whose recipe.json is gone; move the folder away, or add --overwrite, "
            "which keeps it beside the new run"
        )
    return None


def _other(run: RunFolder, wanted: dict[str, Any]) -> str | None:
    """What a folder holds, where it has steps and they are of another run; of one without any nothing is lost."""
    begun = run.begun_with()
    if begun in (None, wanted):
        return None
    steps = run.facts().get("steps", 0) if run.finished else checkpoint.newest(run.checkpoints)
    state = "is a finished run" if run.finished else "holds a run"
    return (
        f"{state} of {count(steps, 'step')} of another recipe ({_in_short(differences(begun, wanted))}{_unread(run)})"
        if steps
        else None
    )


def _unread(run: RunFolder) -> str:
    """Who wrote a recipe that is not understood; nothing where it is."""
    try:
        run.begun_recipe()
    except RecipeError:
        return by_another(run.versions)
    return ""


def _in_short(changes: Sequence[str]) -> str:
    more = f" (and {len(changes) - _SHOWN} more)" if changes[_SHOWN:] else ""
    return ", ".join(changes[:_SHOWN]) + more


def wanted(recipe: TrainRecipe, run: RunFolder, stores: dict[str, str], overwrite: bool) -> dict[str, Any]:
    """What the run is to be; of weights and class names that are gone, those that it began with. Stores that were moved
    since are the same.
    """
    name, names = recipe.student.knobs.get("inherit"), recipe.data.class_names
    weights = inherited_sha256(name) or (None if overwrite else run.inherited(name))
    begun = None if overwrite else run.begun_with()
    return as_begun(identity(recipe, stores, weights, _listed(names, begun)), begun)


def _listed(file: str | None, begun: dict[str, Any] | None) -> str | None:
    """Of the file of class names; of one that an older version began with nothing is known, and nothing compared."""
    now = class_names_sha256(file)
    same = begun is not None and begun.get("recipe", {}).get("data", {}).get("class_names") == file
    return begun.get(NAMES) if begun and same and (now is None or NAMES not in begun) else now


def begin(
    recipe: TrainRecipe,
    run: RunFolder,
    wanted: dict[str, Any],
    overwrite: bool,
    say: Say,
    command: str | None = None,
) -> None:
    """Make the folder ready for what is `wanted`, and say what changed; a finished run is left alone.

    `command`: what was typed, if anything was.
    """
    if overwrite and any((run.path / name).exists() for name in ("recipe.json", *_STEPS)):
        say(f"{run.path}: {_changed(run, wanted)}training anew, the old run is now {run.move_aside()}")
    changes = run.begin(recipe, wanted, command)
    if changes:
        *changed, moved = changes
        say(f"{run.path}: {_in_short(changed)}; training anew, {moved}")
    now = own_code(wanted)
    edited = ", ".join(kind for kind, sha256 in run.code.items() if now.get(kind, sha256) != sha256)
    if run.finished:
        say(Usual(f"{run.path}: already trained, nothing to do"))
        if edited:
            say(f"{run.path}: the file of {edited} was edited since; to train with what it is now, add --overwrite")
        return
    if edited:
        say(
            f"{run.path}: the file of {edited} was edited since it was begun; the steps to come are made with what it "
            "is now; --overwrite makes all of them so"
        )
    for line in measured_in_training(recipe):
        say(line)
    checkpoint.set_damaged_aside(run.checkpoints, say)
    changed = differences(run.versions, versions())
    if changed:
        say(f"{run.path}: begun with other packages ({changed[0]}); what comes out may differ in its last bits")


def _changed(run: RunFolder, wanted: dict[str, Any]) -> str:
    """What differs from the run that was there, and a semicolon; nothing where its record is damaged."""
    try:
        changes = differences(run.begun_with() or wanted, wanted)
    except TrainError:
        return ""
    return f"{_in_short(changes)}; " if changes else ""
