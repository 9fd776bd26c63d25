"""What came out, in words, and no better than it is."""

from __future__ import annotations

from dataclasses import dataclass

from distillkit.report.results import Measure, Score, Table
from distillkit.report.words import listing, part_of, percent


@dataclass(frozen=True)
class Networks:
    """Student and teacher as the text calls them; parameters of the image towers, None where not recorded."""

    student: str
    teacher: str
    student_parameters: int
    teacher_parameters: int | None


def headline(table: Table | None, networks: Networks, seen: str) -> str:
    """One sentence over the whole report. `seen` says whether the student knew the images: see overlap.py."""
    measure = table.main if table else None
    if measure is None:
        return f"{networks.student} learned from {networks.teacher}; how well was not measured"
    teacher, student = measure.scores["teacher"], measure.scores["student"]
    if _at_chance(teacher, measure):
        return f"Here the teacher itself is no better than chance in {measure.name}: nothing that it taught can show"
    if _at_chance(student, measure):
        return f"The student is no better than chance in {measure.name} {seen}".rstrip().rstrip()
    told = f"The student reaches {percent(student.value / teacher.value, 0)} of its teacher’s {measure.name} {seen}"
    if networks.teacher_parameters:
        told += f", with an image tower {part_of(networks.student_parameters, networks.teacher_parameters)} the size"
    baseline = measure.scores.get("baseline")
    if baseline and baseline.value >= student.value:
        told += f"; without the teacher’s image features it reaches {percent(baseline.value / teacher.value, 0)}"
    return told


def numbers(table: Table) -> str:
    """The main measure of everyone, with intervals, as one sentence."""
    measure = table.main
    if measure is None:
        return ""
    told = []
    for who in table.who:
        value, interval = measure.cell(who)
        told.append(f"{value}{f' ({interval})' if interval else ''} for the {who}")
    if measure.chance is not None:
        told.append(f"{measure.text(measure.chance)} by chance")
    return f"{table.name}: {measure.name} is {listing(told)}."


def against_baseline(table: Table) -> str:
    """Student against baseline, as far as the intervals of one seed can tell."""
    measure = table.main
    if measure is None or "baseline" not in measure.scores:
        return ""
    student, baseline = measure.scores["student"], measure.scores["baseline"]
    if None in (student.low, student.high, baseline.low, baseline.high):
        return ""
    if _above(student, baseline):
        return "The student is better than the baseline: their 95% intervals do not overlap."
    if _above(baseline, student):
        return "The student is worse than the baseline: their 95% intervals do not overlap."
    return "The 95% intervals of student and baseline overlap: one seed cannot tell which is better."


def _above(one: Score, other: Score) -> bool:
    return one.low is not None and other.high is not None and one.low > other.high


def _at_chance(score: Score, measure: Measure) -> bool:
    return measure.chance is not None and score.low is not None and score.low <= measure.chance
