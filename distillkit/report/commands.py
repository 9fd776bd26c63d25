"""How to make a run again: the commands as they were typed, with what they ran on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distillkit.report.costs import Pass, teacher_pass
from distillkit.report.made import made
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import Selection


def commands(
    run: Path,
    facts: dict[str, Any],
    passes: list[Pass],
    demo: Path | None,
    views: Sequence[Selection] = (),
    mined: Sequence[Path] = (),
) -> list[str]:
    """One line each, in order; `views` are those among the stores, and told with all that they were made of, as are
    the `mined` neighbours that training read. A command that nobody recorded is a comment that says so.
    """
    makings, beginnings = made(views, mined)
    known = {Path(one.store).absolute() for one in passes}
    more = [teacher_pass(FeatureStore(place)) for place in beginnings if place not in known]
    passes = [*passes, *(one for one in more if one)]
    extractions = list(dict.fromkeys(command for one in passes for command in one.commands))
    training = facts.get("command")
    return [
        *([f"distillkit data prepare demo{' --quick' if demo.name != 'demo' else ''}"] if demo else []),
        *(extractions or ["# distillkit extract-teacher RECIPE  (run from Python; its command was not recorded)"]),
        *makings,
        training or "# distillkit train-student RECIPE  (run from Python; the resolved recipe is in recipe.json)",
        shlex.join(["distillkit", "evaluate", str(run)]),
    ]


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
