"""How to make a run again: the commands as they were typed, with what they ran on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distillkit.report.costs import Pass
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import ROWS, Selection


def commands(
    run: Path, facts: dict[str, Any], passes: list[Pass], demo: Path | None, views: Sequence[Selection] = ()
) -> list[str]:
    """One line each, in order; `views` are those among the stores. A command that nobody recorded is a comment that
    says so.
    """
    extractions = list(dict.fromkeys(command for one in passes for command in one.commands))
    training = facts.get("command")
    return [
        *([f"distillkit data prepare demo{' --quick' if demo.name != 'demo' else ''}"] if demo else []),
        *(extractions or ["# distillkit extract-teacher RECIPE  (run from Python; its command was not recorded)"]),
        *dict.fromkeys(view.command or _view(view) for view in views),
        training or "# distillkit train-student RECIPE  (run from Python; the resolved recipe is in recipe.json)",
        shlex.join(["distillkit", "evaluate", str(run)]),
    ]


def in_order(views: Sequence[Selection]) -> list[Selection]:
    """As they were made: one may be of the rows that another lacks."""
    return sorted(views, key=lambda view: (view.path / VIEW).stat().st_mtime_ns)


def _view(view: Selection) -> str:
    """Of one whose command nobody recorded, what is known all the same."""
    if (view.path / "selection.json").is_file():
        return f"# distillkit select-texts RECIPE  (its command was not recorded; it made {view.path})"
    made = shlex.join(["distillkit", "store", "view", str(view.store), str(view.path)])
    return f"# {made} --keys FILE  (how it was made was not recorded; its rows are in {view.path / ROWS})"


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
