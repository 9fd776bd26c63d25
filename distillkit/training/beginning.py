"""A run's folder before the first step: continued or begun, and what another recipe or other stores made set aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distillkit.recipe import TrainRecipe, differences
from distillkit.runfolder import RunFolder, identity, inherited_sha256
from distillkit.system.versions import versions
from distillkit.training import checkpoint

_SHOWN = 6  # changes of a recipe that are told one by one


def wanted(recipe: TrainRecipe, run: RunFolder, stores: dict[str, str], overwrite: bool) -> dict[str, Any]:
    """What the run is to be; of weights to take over that are gone, those that it began with."""
    name = recipe.student.knobs.get("inherit")
    return identity(recipe, stores, inherited_sha256(name) or (None if overwrite else run.inherited(name)))


def begin(
    recipe: TrainRecipe,
    run: RunFolder,
    wanted: dict[str, Any],
    overwrite: bool,
    say: Callable[[str], None],
    command: str | None = None,
) -> None:
    """Make the folder ready for what is `wanted`, and say what changed; a finished run is left alone.

    `command`: what was typed, if anything was.
    """
    if overwrite and run.path.is_dir():
        say(f"{run.path}: training anew, the old run is now {run.move_aside()}")
    changes = run.begin(recipe, wanted, command)
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
