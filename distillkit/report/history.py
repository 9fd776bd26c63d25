"""What a run logged while it trained, as drawings."""

from __future__ import annotations

from typing import Any

from distillkit.recipe import Term
from distillkit.report.curves import Line, chart
from distillkit.report.words import percent

_NO_TERM = ("step", "epoch", "lr", "images_per_second", "wait_share", "seconds", "memory_gb")

History = list[dict[str, Any]]  # the lines of metrics.jsonl


def drawings(runs: dict[str, tuple[History, list[Term]]], schedule: str) -> list[dict[str, str]]:
    """Loss terms of each run ("student", "baseline"), then learning rate and speed; none without a log.

    `schedule`: the course of the learning rate in words.
    """
    runs = {who: run for who, run in runs.items() if run[0]}
    if "student" not in runs:
        return []
    student = runs["student"][0]
    rate = Line("lr", "c1", _column(student, "step"), _column(student, "lr"), smooth=False)
    speeds = [_line(who, who, history, "images_per_second") for who, (history, _) in runs.items()]
    waiting = percent(sum(_column(student, "wait_share")) / len(student))
    return [
        *(_losses(who, history, losses) for who, (history, losses) in runs.items()),
        _drawing("Learning rate", schedule, [rate], may_log=False),
        _drawing("Images per second", f"the student waited {waiting} of its time for data", speeds, may_log=False),
    ]


def formula(losses: list[Term]) -> str:
    """The objective in the names of its terms, and what they are: "0.7 L_vl (affinity) + 0.3 L_pvl (affinity)"."""
    weighted = [(component.knobs.get("weight", 1.0), _named(component)) for component in losses]
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for weight, name in weighted)


def _named(term: Term) -> str:
    name = term.knobs.get("name") or term.kind
    return name if name == term.kind else f"{name} ({term.kind})"


def _losses(who: str, history: History, losses: list[Term]) -> dict[str, str]:
    names = [name for name in history[0] if name not in _NO_TERM and "." not in name]
    if len(names) == 2:
        names.remove("total")  # there is one term, and this is it
    lines = [_line(name, f"c{number % 5 + 1}", history, name) for number, name in enumerate(names)]
    return _drawing(f"Loss of the {who}", formula(losses), lines)


def _drawing(title: str, note: str, lines: list[Line], *, may_log: bool = True) -> dict[str, str]:
    return {"title": title, "note": note, "svg": chart(lines, f"{title}, by training step", may_log=may_log)}


def _line(name: str, colour: str, history: History, column: str) -> Line:
    return Line(name, colour, _column(history, "step"), _column(history, column))


def _column(history: History, name: str) -> list[float]:
    return [line[name] for line in history]
