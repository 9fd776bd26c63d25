"""A comparison as one table for other programs and papers: csv, latex or md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator

from distillkit.evaluation.comparison import Cell, Comparison, Line
from distillkit.report.comparison import difference, told

_COLUMNS = (
    *("eval", "table", "measure", "recipe", "value", "low", "high", "chance", "majority", "difference"),
    *("difference_low", "difference_high", "p", "p_holm", "verdict", "items_needed", "items", "groups"),
)
_MARKS = {"better": "+", "worse": "-", "not separable": ""}


def as_csv(comparison: Comparison) -> str:
    """A row for each number of each recipe, unrounded; what is not known is empty."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in _rows(comparison):
        writer.writerow(["" if value is None else value for value in row])
    return made.getvalue()


def as_json(comparison: Comparison) -> str:
    """The same rows, an object a line; what is not known is null."""
    return "".join(f"{json.dumps(dict(zip(_COLUMNS, row, strict=True)))}\n" for row in _rows(comparison))


def _rows(comparison: Comparison) -> Iterator[list[object]]:
    for line in comparison.lines:
        for who, cell in line.cells.items():
            yield _values(line, who, cell)


def _values(line: Line, who: str, cell: Cell) -> list[object]:
    test = cell.against
    tested = (
        [test.value, test.low, test.high, test.p, test.verdict.adjusted, test.verdict.word, test.verdict.items]
        if test
        else [None] * 7
    )
    guessed = (line.measure.chance, line.measure.more_than_chance)
    about = [line.eval, line.table, line.measure.name, who, cell.value, cell.low, cell.high, *guessed]
    return [*about, *tested, line.items, line.clusters]


def as_md(comparison: Comparison) -> str:
    """Measures down, recipes across; a difference stands behind its number, marked where it is separable."""
    names = [arm.name for arm in comparison.arms]
    rows = [["", *names], ["---", *["---:"] * len(names)]]
    rows += [[_label(line), *(_cell(line, line.cells[name]) for name in names)] for line in comparison.lines]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def as_latex(comparison: Comparison) -> str:
    """The same as a tabular of booktabs."""
    names = [arm.name for arm in comparison.arms]
    head = " & ".join(["", *map(_escaped, names)])
    body = [
        " & ".join([_escaped(_label(line)), *(_escaped(_cell(line, line.cells[name])) for name in names)])
        for line in comparison.lines
    ]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    lines += [rf"{row} \\" for row in body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


FORMATS: dict[str, Callable[[Comparison], str]] = {"csv": as_csv, "latex": as_latex, "md": as_md}


def _label(line: Line) -> str:
    return f"{line.eval}: {line.measure.name}"


def _cell(line: Line, cell: Cell) -> str:
    if cell.against is None:
        return told(line, cell.value)
    return f"{told(line, cell.value)} [{difference(line, cell.against)}]{_MARKS[cell.against.verdict.word]}"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$"}
    return "".join(special.get(one, f"\\{one}" if one in "&%$#_{}" else one) for one in text)
