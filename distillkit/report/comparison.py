"""A comparison as files: compare.md and compare.html, and its verdicts as lines for a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from distillkit.callable import Say
from distillkit.evals._labels import UNSHOWN
from distillkit.evaluation.comparison import Against, Arm, Cell, Comparison, Line
from distillkit.evaluation.verdicts import few
from distillkit.report import render
from distillkit.report.interactive import DOTS, colours, interactive, short_names, title
from distillkit.report.script import embedded, script
from distillkit.report.speeds import speed_of
from distillkit.report.words import count, duration, listing, p_value, parameters, percent, scaled, size
from distillkit.runfolder import RunFolder
from distillkit.students._count import image_macs
from distillkit.system.together import write_together
from distillkit.system.turns import in_turn
from distillkit.system.wording import count as counted

_FILES = ("compare.md", "compare.html")
_SCRIPTS = ("tables.js", "plot.js", "galleries.js", "dots.js", "maps.js", "compare.js")
_DASH = "–"
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # the beginning of a sha256 tells it from another one


def write_comparison(folder: Path, comparison: Comparison, dots: int = DOTS, say: Say = lambda line: None) -> Path:
    """Write both files; returns the path of the page. `dots`: how many images its maps show at most.

    MissingExtra without jinja2.
    """
    values = page(comparison)
    costs = {arm["name"]: {cost["what"]: cost["number"] for cost in arm["costs"]} for arm in values["arms"]}
    values |= interactive(comparison, costs, dots, say)
    values |= {"json": embedded(values["data"]), "script": script(*_SCRIPTS)}
    made = {folder / name: partial(_put, render(name, values)) for name in _FILES}
    with in_turn(folder / _FILES[-1]):
        write_together(made)
    return folder / _FILES[-1]


def _put(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def page(comparison: Comparison) -> dict[str, Any]:
    """What both templates print; numbers are text, beside those that the page sorts by."""
    tables: dict[tuple[str, str], list[Line]] = {}
    for line in comparison.lines:
        tables.setdefault((line.eval, line.table), []).append(line)
    speeds, not_alike = _speeds(comparison)
    colour = colours(comparison)
    return {
        "arms": [_arm(arm, colour[arm.name], speed) for arm, speed in zip(comparison.arms, speeds, strict=True)],
        "timed": ("one image", "images/s") if any(speeds) else (),
        "short": short_names(comparison),
        "matrix": _matrix(comparison),
        "baseline": comparison.baseline.name,
        "differs": {arm.name: _short(arm.differs) for arm in comparison.arms[1:] if arm.runs},
        "tables": [_table(name, part, lines, comparison) for (name, part), lines in tables.items()],
        "tests": comparison.tests,
        "notes": [*comparison.notes, *not_alike, *_borrowed_texts(comparison)],
        "seeds": any(len(arm.seeds) > 1 for arm in comparison.arms),
    }


def verdicts(comparison: Comparison) -> list[str]:
    """One line for each tested number."""
    return [
        f"{line.eval}: {line.measure.name}: {who} {told(line, cell.value)}, {difference(line, cell.against)} against "
        f"{comparison.baseline.name}: {cell.against.verdict.told}"
        for line in comparison.lines
        for who, cell in line.cells.items()
        if cell.against is not None
    ]


def told(line: Line, value: float) -> str:
    """A number of this measure, as people read it."""
    return percent(value) if line.share else f"{value:.4g}"


def interval(line: Line, low: float | None, high: float | None, *, points: bool = False) -> str:
    """Two ends without the sign of percent; empty where there are none."""
    if low is None or high is None:
        return ""
    return f"{_end(line, low, points)} to {_end(line, high, points)}"


def difference(line: Line, against: Against) -> str:
    """The difference with its sign, and its interval: "+3.5 points (0.4 to 6.7)"."""
    ends = interval(line, against.low, against.high, points=True)
    return f"{_end(line, against.value, True)}{' points' if line.share else ''}{f' ({ends})' if ends else ''}"


def _end(line: Line, value: float, points: bool) -> str:
    scaled = 100 * value if line.share else value
    text = (
        f"{scaled:+.1f}"
        if points and line.share
        else f"{scaled:.1f}"
        if line.share
        else f"{scaled:{'+' if points else ''}.3g}"
    )
    return text.replace("-", "−")


def _speeds(comparison: Comparison) -> tuple[list[dict[str, Any] | None], list[str]]:
    """What bench-model kept of each arm's first run; none of it, and why, where it was not measured alike."""
    found = [speed_of(arm.runs[0].path) if arm.runs else None for arm in comparison.arms]
    alike = [one["measured"] for one in found if one is not None]
    if all(one == alike[0] for one in alike):
        return found, []
    told = "speeds were measured on other machines, threads or batches, so they are not shown; run bench-model of all"
    return [None] * len(found), [told]


def _borrowed_texts(comparison: Comparison) -> list[str]:
    """A sentence where some count a text tower and others do without: their parameters are not of the same things."""
    own = {arm.name: "text" in arm.runs[0].facts.get("towers", {}) for arm in comparison.arms if arm.runs}
    if len(set(own.values())) < 2:
        return []
    names = listing([short_names(comparison)[name] for name, has in own.items() if not has])
    return [f"parameters of {names} are of no text tower: where texts are asked about, the teacher's has to be there"]


def _short(differs: Sequence[str]) -> list[str]:
    return [_DIGEST.sub(r"\1…", one) for one in differs]


def _arm(arm: Arm, colour: str, timed: dict[str, Any] | None) -> dict[str, Any]:
    facts, first = (arm.runs[0].facts, RunFolder(arm.runs[0].path)) if arm.runs else ({}, None)
    multiplied = image_macs(first.load_student()) if first else None
    speed = facts["images_seen"] / arm.seconds if arm.seconds and facts.get("images_seen") else None
    costs = [
        ("parameters", arm.parameters, parameters(arm.parameters)),
        ("macs", multiplied, _DASH if multiplied is None else scaled(multiplied)),
        ("bytes", arm.file_bytes, _DASH if arm.file_bytes is None else size(arm.file_bytes)),
        ("seconds", arm.seconds, _DASH if arm.seconds is None else duration(arm.seconds)),
        ("speed", speed, _DASH if speed is None else count(speed)),
    ]
    alone, rate = (None if timed is None else timed[name] for name in ("image_seconds", "images_per_second"))
    more = [
        ("alone", alone, _DASH if alone is None else duration(alone)),
        ("rate", rate, _DASH if rate is None else count(rate)),
    ]

    def named(costs: list[tuple[str, Any, str]]) -> list[dict[str, Any]]:
        return [{"what": what, "number": number, "text": text} for what, number, text in costs]

    return {
        "name": arm.name,
        "colour": colour,
        "seeds": f"{len(arm.seeds)} ({', '.join(map(str, arm.seeds))})" if arm.seeds else _DASH,
        "costs": named(costs),
        "timed": named(more),
    }


def _matrix(comparison: Comparison) -> dict[str, Any]:
    """A column for each measure; `main` are the first ones of their tables, the others are shown when asked for."""
    seen: set[tuple[str, str]] = set()
    columns = []
    for line in comparison.lines:
        main = (line.eval, line.table) not in seen
        seen.add((line.eval, line.table))
        cells = {who: _matrix_cell(line, cell) for who, cell in line.cells.items()}
        columns.append({"name": title(line), "main": main, "cells": cells})
    return {"columns": columns, "more": any(not column["main"] for column in columns)}


def _matrix_cell(line: Line, cell: Cell) -> dict[str, Any]:
    test = cell.against
    return {
        "number": cell.value,
        "value": told(line, cell.value),
        "difference": _end(line, test.value, True) if test else "",
        "word": test.verdict.word.replace(" ", "-") if test else "",
    }


def _table(name: str, part: str, lines: list[Line], comparison: Comparison) -> dict[str, Any]:
    first = lines[0]
    items = counted(first.items, "item") if first.items else "no rows were kept: no tests"
    grouped = f" in {counted(first.clusters, 'group')}" if first.clusters < first.items else ""
    seeds = any(len(arm.seeds) > 1 for arm in comparison.arms)
    grouped += f", {first.unshown:,} {UNSHOWN}, which nobody could learn" if first.unshown else ""
    told = few(first.clusters, seeds).removesuffix(".") if first.items else ""
    return {
        "name": f"{name}, {part}" if part else name,
        "caption": ". ".join(filter(None, [items + grouped, told, _frequent(lines)])),
        "rows": [_row(line, who, cell, comparison) for line in lines for who, cell in line.cells.items()],
    }


def _frequent(lines: Sequence[Line]) -> str:
    """What the most frequent class reaches, where that is more than chance."""
    known = [(line, line.measure.more_than_chance) for line in lines]
    found = [f"{told(line, often)} in {line.measure.name}" for line, often in known if often is not None]
    return f"The most frequent class, said of every image, reaches {listing(found)}" if found else ""


def _row(line: Line, who: str, cell: Cell, comparison: Comparison) -> dict[str, Any]:
    against, first = cell.against, who == comparison.baseline.name
    return {
        "name": line.measure.name,
        "measure": line.measure.name if first else "",
        "who": who,
        "number": cell.value,
        "test": against,
        "moved": _end(line, against.value, True) + (" points" if line.share else "") if against else "",
        "moved_between": interval(line, against.low, against.high, points=True) if against else "",
        "value": told(line, cell.value),
        "interval": interval(line, cell.low, cell.high),
        "difference": difference(line, against) if against else _DASH,
        "p": p_value(against.p) if against else _DASH,
        "holm": p_value(against.verdict.adjusted) if against else _DASH,
        "verdict": against.verdict.told if against else "" if first else "no test",
        "word": against.verdict.word.replace(" ", "-") if against else "",
    }
