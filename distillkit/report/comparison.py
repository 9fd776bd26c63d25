"""A comparison as files: compare.md and compare.html, and its verdicts as lines for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillkit.evaluation.comparison import Against, Arm, Cell, Comparison, Line
from distillkit.report import render
from distillkit.report.words import count, duration, parameters, percent, size
from distillkit.system.atomic import atomic_file

_FILES = ("compare.md", "compare.html")
_DASH = "–"


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write both files; returns the path of the page. MissingExtra without jinja2."""
    values = page(comparison)
    made = {name: render(name, values) for name in _FILES}
    for name, text in made.items():
        with atomic_file(folder / name) as file:
            file.write(text.encode())
    return folder / _FILES[-1]


def page(comparison: Comparison) -> dict[str, Any]:
    """What both templates print; numbers are already text."""
    tables: dict[tuple[str, str], list[Line]] = {}
    for line in comparison.lines:
        tables.setdefault((line.eval, line.table), []).append(line)
    return {
        "arms": [_arm(arm) for arm in comparison.arms],
        "baseline": comparison.baseline.name,
        "differs": {arm.name: arm.differs for arm in comparison.arms[1:] if arm.runs},
        "tables": [_table(name, part, lines, comparison) for (name, part), lines in tables.items()],
        "tests": comparison.tests,
        "notes": comparison.notes,
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


def p_value(p: float) -> str:
    """0.0123 is "0.012"; what is below what resampling can tell is said so."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


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


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "seeds": ", ".join(map(str, arm.seeds)) or _DASH,
        "parameters": parameters(arm.parameters),
        "file": _DASH if arm.file_bytes is None else size(arm.file_bytes),
        "seconds": _DASH if arm.seconds is None else duration(arm.seconds),
        "runs": [run.name for run in arm.runs],
    }


def _table(name: str, part: str, lines: list[Line], comparison: Comparison) -> dict[str, Any]:
    first = lines[0]
    items = f"{count(first.items)} items" if first.items else "no rows were kept: no tests"
    grouped = f" in {count(first.clusters)} groups" if first.clusters < first.items else ""
    return {
        "name": f"{name}, {part}" if part else name,
        "caption": items + grouped,
        "rows": [_row(line, who, cell, comparison) for line in lines for who, cell in line.cells.items()],
    }


def _row(line: Line, who: str, cell: Cell, comparison: Comparison) -> dict[str, str]:
    against, first = cell.against, who == comparison.baseline.name
    return {
        "measure": line.measure.name if first else "",
        "who": who,
        "value": told(line, cell.value),
        "interval": interval(line, cell.low, cell.high),
        "difference": difference(line, against) if against else _DASH,
        "p": p_value(against.p) if against else _DASH,
        "holm": p_value(against.verdict.adjusted) if against else _DASH,
        "verdict": against.verdict.told if against else "" if first else "no test",
        "word": against.verdict.word.replace(" ", "-") if against else "",
    }
