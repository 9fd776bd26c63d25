"""What came out, in words, and no better than it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distillkit.evaluation.chance import LEVEL
from distillkit.evaluation.comparison import Against
from distillkit.report.differing import NOTHING, Differing
from distillkit.report.results import Measure, Score, Table
from distillkit.report.words import listing, named, p_value, part_of, percent, signed
from distillkit.system.wording import count


@dataclass(frozen=True)
class Networks:
    """Student and teacher as the text calls them; parameters of the image towers, None where not recorded."""

    student: str
    teacher: str
    student_parameters: int
    teacher_parameters: int | None


def headline(
    table: Table | None,
    networks: Networks,
    seen: str,
    test: Against | None = None,
    several: bool = False,
    differ: Differing = NOTHING,
    guessed: Mapping[str, float] | None = None,
) -> str:
    """One sentence over the whole report. `seen` says whether the student knew the images: see overlap.py; `test`: the
    paired one of the student against the baseline, without which there is no word on who is better. `several`: the
    table is that of one eval among others, so the sentence names it. `differ`: what paired tests say of the other
    measures, without which the sentence would hide it. `guessed`: by network, how often answers without looking do as
    well on these items (evaluation/chance.py); of a network without, its interval says whether it is at chance.
    """
    measure = table.main if table else None
    if table is None or measure is None:
        return f"{networks.student} learned from {networks.teacher}; how well was not measured"
    teacher, student = measure.scores["teacher"], measure.scores["student"]
    where, guessed = f" in {named([table.name])}" if several else "", guessed or {}
    if _at_chance(teacher, measure, guessed.get("teacher")):
        return f"Here the teacher itself {_no_better(teacher, measure)}{where}: what it taught can hardly show there"
    if _at_chance(student, measure, guessed.get("student")):
        return f"The student {_no_better(student, measure)}{where} {seen}".rstrip()
    if not teacher.value:
        own = f"The teacher’s own {measure.name}{where} is 0"
        return f"{own}, the student’s {measure.text(student.value)}: nothing to reach"
    part = percent(student.value / teacher.value, 0)
    told = f"The student reaches {part} of its teacher’s {measure.name}{where} {seen}"
    if networks.teacher_parameters:
        part, of = part_of(networks.student_parameters, networks.teacher_parameters)
        told += f", with an image tower {'just as large' if of == 'as' else f'{part} the size'}"
    baseline = measure.scores.get("baseline")
    if baseline and baseline.value >= student.value:
        told += f"; its baseline reaches {percent(baseline.value / teacher.value, 0)}"
    if test is None:
        return told
    others = differ.unlike(test.verdict.word, several)
    if not others:
        return f"{told}; {_IN_SHORT[test.verdict.word]} in a paired test"
    return f"{told}; in {measure.name} {_IN_SHORT[test.verdict.word]} in a paired test, but it is {others}"


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
    often = (
        ""
        if measure.majority is None
        else f"; the most frequent class, said of all, reaches {measure.text(measure.majority)}"
    )
    return f"{measure.name} is {listing(told)}{often}."


def above_chance(table: Table, guessed: Mapping[str, float]) -> str:
    """Of whom the interval reaches chance and the test on these items does not: why the two do not contradict."""
    measure = table.main
    if measure is None or measure.chance is None:
        return ""
    sure = {
        who: guessed[who]
        for who, score in measure.scores.items()
        if who in guessed and _at_chance(score, measure) and not _at_chance(score, measure, guessed[who])
    }
    if not sure:
        return ""
    groups = "few groups" if measure.groups is None else count(measure.groups, "group")
    told = listing([f"the {who} (p {_p(p)})" for who, p in sure.items()])
    return (
        f"An interval that reaches chance is about other classes or texts than the {groups} here; on these "
        f"items, each by itself, {told} {'is' if len(sure) == 1 else 'are'} above chance."
    )


def against_baseline(table: Table, test: Against | None, tests: int = 1) -> str:
    """Student against baseline on the same items, as the paired test has it, one of so many `tests` of the page; empty
    where there is none.
    """
    measure = table.main
    if measure is None or test is None:
        return ""
    ends = (
        ""
        if test.low is None or test.high is None
        else f" ({signed(test.low, measure.share)} to {signed(test.high, measure.share)})"
    )
    unit = " points" if measure.share else ""
    p = f"p = {test.p:.2g}"
    if tests > 1:  # and by that goes the verdict, here as in all that the page says, and as `distillkit compare` has it
        p += f", {p_value(test.verdict.adjusted)} after Holm over the {tests} tests of this page"
    found = f"{signed(test.value, measure.share)}{unit}{ends} in {measure.name} on the same items, {p}"
    if test.verdict.word == "not separable":
        why = f"; {test.verdict.why}" if test.verdict.why else ""
        return f"Student and baseline are not separable: {found}{why}."
    return f"The student is {test.verdict.word} than the baseline: {found}."


_IN_SHORT = {
    "better": "it is better than the baseline",
    "worse": "it is worse than the baseline",
    "not separable": "it and the baseline are not separable",
}


def _no_better(score: Score, measure: Measure) -> str:
    """At chance by its test; a value above it all the same says no more than that these items are too few."""
    above = measure.chance is not None and score.value > measure.chance
    return f"{'cannot be told from' if above else 'is no better than'} chance in {measure.name}"


def _at_chance(score: Score, measure: Measure, p: float | None = None) -> bool:
    """By the test on these items; without one, whether the interval reaches chance."""
    if measure.chance is None:
        return False
    if p is not None:
        return p > LEVEL or score.value <= measure.chance
    return score.low is not None and score.low <= measure.chance


def _p(p: float) -> str:
    told = p_value(p)
    return told if told.startswith("<") else f"= {told}"
