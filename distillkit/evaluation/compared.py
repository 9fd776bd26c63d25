"""Arms to a comparison: the evals that all of them answered, each measure tested in pairs, Holm over all tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from distillkit.errors import TrainError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._encode import stores_of
from distillkit.evals._labels import UNSHOWN
from distillkit.evaluation.clusters import independent
from distillkit.evaluation.comparison import Against, Arm, Cell, Comparison, Line
from distillkit.evaluation.measured import Asking, Place
from distillkit.evaluation.numbers import DETAILS, numbers
from distillkit.evaluation.paired import seeded_interval
from distillkit.evaluation.tested import against, judged
from distillkit.recipe import Component, differences
from distillkit.system.wording import count as counted


def compared(arms: Sequence[Arm], teacher: Arm | None = None) -> Comparison:
    """The first arm against each other one, and against the `teacher` if it is to be on the table.

    What not all answered is left out, and so is a name that stands for other questions or other items; TrainError where
    nothing else is there.
    """
    by_arm = {arm.name: [run.rows for run in arm.runs] for arm in arms}
    everyone = [*arms] if teacher is None else [arms[0], teacher, *arms[1:]]
    if teacher is not None:
        by_arm[teacher.name] = [arms[0].runs[0].teacher]
    names = list(dict.fromkeys(place for runs in by_arm.values() for run in runs for place in run))
    shared = [place for place in names if all(place in run for runs in by_arm.values() for run in runs)]
    alone = sorted({name for name, _ in names} - {name for name, _ in shared})
    asked = {place: {who: [run[place] for run in runs] for who, runs in by_arm.items()} for place in shared}
    others = {place[0]: why for place in shared if (why := _other_questions(asked[place]))}
    others |= {name: why for name in _unrowed(arms) if (why := _asked_otherwise([*_told_of(arms, name)]))}
    lines = [line for place in shared if place[0] not in others for line in _lines(place, asked[place], teacher)]
    lines += [line for line in _untested(arms) if line.eval not in others] if teacher is None else []
    if not lines:
        told = "; ".join(f"{arm.name}: {', '.join(_answered(arm)) or 'none'}" for arm in arms)
        why = next(
            (f"{name}: {why}" for name, why in others.items()), f"no evaluation was answered by all of them ({told})"
        )
        raise TrainError(f"{why}; ask all of them the same: distillkit evaluate RUN... --eval FILE")
    notes = [f"{name}: not answered by all of them, left out" for name in alone]
    notes += [f"{name}: {why}, left out" for name, why in others.items()]
    notes += _flattered(arms, list(dict.fromkeys(line.eval for line in lines)))
    return Comparison(tuple(everyone), tuple(judged(lines)), tuple(notes), tuple(others))


def _flattered(arms: Sequence[Arm], names: Sequence[str]) -> Iterator[str]:
    """A line for each arm whose weights were selected on images that it is measured on: the luckiest of many."""
    for arm in arms:
        found: list[str] = []
        for run in arm.runs:
            chosen = run.made_of.get("weights", {}).get("eval")
            seen = set() if chosen is None else set(stores_of(Component(**chosen).build("evals")))
            asked = {name: one.made_of for (name, _), one in run.rows.items()} | run.asked
            found += [name for name in names if seen & set(asked.get(name, {}).get("stores", {}))]
        if found:
            told = ", ".join(dict.fromkeys(found))
            yield f"{arm.name}: its weights were selected on images of {told}, so these numbers flatter it"


def _answered(arm: Arm) -> list[str]:
    return list(
        dict.fromkeys(
            [*(name for run in arm.runs for name, _ in run.rows), *(n for run in arm.runs for n in run.numbers)]
        )
    )


def _lines(place: Place, asked: dict[str, list[Asking]], teacher: Arm | None) -> list[Line]:
    """Every measure of a table that all networks have."""
    answers = {who: [one.answers for one in runs] for who, runs in asked.items()}
    everyone = [one for runs in answers.values() for one in runs]
    first = everyone[0]
    names = [{measure.name for measure in one.measures} for one in everyone]
    measures = [measure for measure in first.measures if all(measure.name in known for known in names)]
    own = {who: [numbers([one]) for one in runs] for who, runs in answers.items()}
    baseline = next(iter(answers))
    tested = {
        who: against(runs, answers[baseline], measures, fixed=teacher is not None and who == teacher.name)
        for who, runs in answers.items()
    }
    lines = []
    for number, measure in enumerate(measures):
        cells = {}
        for who, runs in answers.items():
            test = None if who == baseline else tested[who][number]
            cells[who] = _cell(measure, own[who], runs, test)
        unshown = int(first.facts.get(UNSHOWN, 0))
        lines.append(Line(place[0], place[1], measure, len(first.key), independent(first), cells, unshown))
    return lines


def _cell(measure: Measure, own: list[dict[str, float]], runs: list[Answers], test: Against | None) -> Cell:
    """Of several seeds the value is their mean; its interval then comes from items and seeds."""
    value = float(np.mean([one[measure.name] for one in own]))
    if len(own) == 1:
        return Cell(value, own[0].get(f"{measure.name}.low"), own[0].get(f"{measure.name}.high"), test)
    if measure.how != "mean":
        return Cell(value, None, None, test)
    values = np.stack([one.values([measure]) for one in runs])
    share = measure.chance is not None or measure.within is not None
    low, high = seeded_interval(values, runs[0].group, measure.once, share=share) or (None, None)
    return Cell(value, low, high, test)


def _untested(arms: Sequence[Arm]) -> list[Line]:
    """Numbers of evals that keep no rows: beside each other, and no verdict, since there is no test."""
    known = [run.numbers for arm in arms for run in arm.runs]
    lines = []
    for name in _unrowed(arms):
        for measure in known[0][name]:
            if measure.endswith(DETAILS) or not all(measure in one[name] for one in known):
                continue
            values = {arm.name: float(np.mean([run.numbers[name][measure] for run in arm.runs])) for arm in arms}
            chance = known[0][name].get(f"{measure}.chance")
            cells = {who: Cell(value) for who, value in values.items()}
            lines.append(Line(name, "", Measure(measure, "", chance=chance), 0, 0, cells))
    return lines


def _unrowed(arms: Sequence[Arm]) -> list[str]:
    """The evals that keep no rows and all of them answered."""
    known = [run.numbers for arm in arms for run in arm.runs]
    return [name for name in known[0] if all(name in one for one in known)]


def _told_of(arms: Sequence[Arm], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of what the numbers of such an eval were made, by arm."""
    return ((arm.name, run.asked.get(name, {})) for arm in arms for run in arm.runs)


def _asked_otherwise(everyone: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """In words, where one name stands for other evals, stores, files or ways to count, or networks were run in other
    precisions; else nothing.
    """
    first_name, first = everyone[0]
    for who, one in everyone[1:]:
        for what in ("eval", "stores", "files", "counted", "precision"):
            if changes := differences(first.get(what, {}), one.get(what, {})):
                return f"{first_name} and {who} were not asked the same ({what}: {changes[0]})"
    return ""


def _other_questions(asked: dict[str, list[Asking]]) -> str:
    """In words, where one name stands for other evals, stores, files or items; else nothing."""
    everyone = [(who, one) for who, runs in asked.items() for one in runs]
    first_name, first = everyone[0]
    if why := _asked_otherwise([(who, one.made_of) for who, one in everyone]):
        return why
    for who, one in everyone[1:]:
        if list(one.answers.key) != list(first.answers.key):
            return (
                f"{first_name} answered {counted(len(first.answers.key), 'item')} and {who} "
                f"{len(one.answers.key):,}, not the same ones"
            )
    return ""
