"""How to make a run again: the commands as they were typed, with what they ran on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distillkit.evaluation.asked import name_of
from distillkit.recipe import TrainRecipe
from distillkit.report.made import made
from distillkit.report.then import Then
from distillkit.store.format.log import commands as computed
from distillkit.store.format.maker import is_extracted
from distillkit.store.reading.selection import Selection
from distillkit.system.wording import count


def commands(
    run: Path,
    facts: dict[str, Any],
    stores: Sequence[Path],
    demo: Path | None,
    views: Sequence[Selection] = (),
    mined: Sequence[Path] = (),
    then: Mapping[str, Then] | None = None,
) -> list[str]:
    """One line each, in order; `views` are those among the stores, and told with all that they were made of, as are
    the `mined` neighbours that training read; `then`: what was trained on. A command that nobody recorded is a comment
    that says so, and so is that a store is another one by now.
    """
    old = list({one.store.path: one for one in (then or {}).values() if not one.same}.values())
    makings, beginnings = made(stores, views, mined, {one.store.path: str(one.digest) for one in old})
    places = dict.fromkeys(place.absolute() for place in (*stores, *beginnings))
    every = dict.fromkeys(command for place in places for command in computed(place))
    extractions = [command for command in every if command not in makings]
    grown = [f"# {one.store.path}: {one.in_short()}" for one in old if one.store.selection is None]
    training = facts.get("command")
    if not extractions and any(map(is_extracted, places)):
        extractions = ["# distillkit extract-teacher RECIPE  (run from Python; its command was not recorded)"]
    return [
        *([f"distillkit data prepare demo{' --quick' if demo.name != 'demo' else ''}"] if demo else []),
        *grown,
        *extractions,
        *makings,
        training or "# distillkit train-student RECIPE  (run from Python; the resolved recipe is in recipe.json)",
        shlex.join(["distillkit", "evaluate", str(run)]),
    ]


def measured_besides(run: Path, recipe: TrainRecipe, evals: Mapping[str, Any]) -> list[str]:
    """The commands that asked for `evals` of files, and a remark on those of which no recipe and no record tells."""
    typed = [tuple(map(str, one["typed"])) for one in evals.values() if isinstance(one.get("typed"), list)]
    told = [shlex.join(["distillkit", "evaluate", str(run), *words]) for words in dict.fromkeys(typed)]
    told = [command for command in told if command.isprintable()]
    own = {name_of(one) for one in recipe.evals}
    others = sum(name not in own and not isinstance(one.get("typed"), list) for name, one in evals.items())
    if not others:
        return told
    command = shlex.join(["distillkit", "evaluate", str(run), "--eval", "FILE"])
    asked = f"FILE asked for {count(others, 'more eval')}"
    return [*told, f"# {command}  ({asked}; which it was was not recorded)"]


def in_words(machine: dict[str, Any] | None) -> str:
    """A machine with all that is known of it."""
    if not machine:
        return "a machine that was not recorded"
    return ", ".join(filter(None, [machine["gpu"], machine["cpu"], _cores(machine), machine["system"]]))


def in_short(machine: dict[str, Any] | None) -> str:
    """The part of it that training ran on; empty when nobody recorded it."""
    return "" if not machine else machine["gpu"] or _cores(machine)


def _cores(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} CPU core{'s' if machine['cores'] != 1 else ''}"
