"""In which measures of a page student and baseline differ: all that it shows are tested, not the chosen one alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.evaluation.clusters import independent
from distillkit.evaluation.comparison import Against, Cell, Line
from distillkit.evaluation.rows import TABLES, Rows, is_rows, read_rows
from distillkit.evaluation.tested import against, judged
from distillkit.report.answers import rows_of
from distillkit.report.words import listing, named, p_value, signed

_WHO = "student"


@dataclass(frozen=True)
class Differing:
    """The `lines` of a page, by eval and measure, in which student and baseline are separable after Holm's correction
    over `every` one of them, as `distillkit compare` has it.
    """

    lines: Sequence[Line] = ()
    every: Sequence[Line] = ()

    @property
    def tests(self) -> int:
        return len(self.every)

    def test_of(self, eval_: str, measure: str) -> Against | None:
        """The paired test of one measure; None where there is no baseline, or no test of it."""
        found = (line for line in self.every if (line.eval, line.measure.name) == (eval_, measure))
        return next((line.cells[_WHO].against for line in found), None)

    def but(self, eval_: str, measure: str) -> Differing:
        """Without one measure, of which something is said already."""
        left = [line for line in self.lines if (line.eval, line.measure.name) != (eval_, measure)]
        return Differing(left, self.every)

    def of(self, eval_: str) -> str:
        """Those of one eval as a sentence; empty where there are none."""
        told = []
        for word in ("better", "worse"):
            found = [_told(line) for line in self.lines if line.eval == eval_ and word_of(line) == word]
            told += [f"{word} than the baseline in {listing(found)}"] if found else []
        over = f" (p after Holm over the {self.tests} tests of this page)" if self.tests > 1 else ""
        return f"By paired tests{over} the student is {listing(told)}." if told else ""

    def unlike(self, word: str, several: bool) -> str:
        """Those that say something else than `word`, in short; `several`: there are other evals, so theirs is named."""
        told = []
        for other in ("better", "worse"):
            lines = [line for line in self.lines if word_of(line) == other != word]
            names = [f"{line.measure.name}{f' of {named([line.eval])}' if several else ''}" for line in lines]
            more = [f"{len(names) - 2} more"] if len(names) > 3 else []
            told += [f"{other} in {listing(names[:2] + more if more else names)}"] if names else []
        return listing(told)


NOTHING = Differing()


def differing(run: Path, evaluation: Mapping[str, Any]) -> Differing:
    """Of the evals that kept rows of both."""
    lines: list[Line] = []
    for name in evaluation["results"]:
        for rows in _tables(run, evaluation, name):
            if {_WHO, "baseline"} <= rows.answers.keys():
                lines += _lines(name, rows)
    lines = judged(lines)
    return Differing([line for line in lines if word_of(line) != "not separable"], lines)


def word_of(line: Line) -> str:
    test = line.cells[_WHO].against
    return test.verdict.word if test else ""


def _tables(run: Path, evaluation: Mapping[str, Any], name: str) -> Iterator[Rows]:
    """The rows of an eval, those of its further tables too."""
    first = rows_of(run, evaluation, name)
    if first is None:
        return
    yield first
    if first.made_of.get(TABLES):
        main = run / evaluation["evals"][name]["rows"]
        files = [file for file in sorted(main.parent.glob(f"{main.stem}.*.arrow")) if is_rows(file)]
        yield from (rows for rows in map(read_rows, files) if rows.name == name and rows.table in first.made_of[TABLES])


def _lines(name: str, rows: Rows) -> Iterator[Line]:
    student, baseline = rows.answers[_WHO], rows.answers["baseline"]
    both = {one.name for one in baseline.measures}
    measures = [one for one in student.measures if one.name in both]
    for measure, test in zip(measures, against([student], [baseline], measures), strict=True):
        if test is not None:
            cells = {_WHO: Cell(test.value, against=test)}
            yield Line(name, rows.table, measure, len(student.key), independent(student), cells)


def _told(line: Line) -> str:
    test = line.cells[_WHO].against
    assert test is not None
    p = p_value(test.verdict.adjusted)
    unit = " points" if line.share else ""
    return f"{line.measure.name} ({signed(test.value, line.share)}{unit}, p {p if p[0] == '<' else f'= {p}'})"
