"""Answers behind a comparison that are right or wrong: of each evaluation, what teacher and recipes said, by item.

Of a recipe with several seeds the first run speaks: an item has one answer here, not a mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from distillkit.evals._answers import Answers
from distillkit.evaluation.arms import TEACHER
from distillkit.evaluation.comparison import Comparison
from distillkit.evaluation.result import read_result
from distillkit.report.named import called_answers
from distillkit.system.paths import expand


@dataclass(frozen=True)
class Heard:
    """One evaluation: by network, its answers to the same items. `store`: the name of the one the items are rows of."""

    eval: str
    store: str
    answers: dict[str, Answers]

    @property
    def keys(self) -> list[str]:
        return list(self.first.key)

    @property
    def first(self) -> Answers:
        return next(iter(self.answers.values()))

    def right(self, who: str) -> Bool[np.ndarray, "n"]:
        """Whether the first answer to each item is a right one."""
        return np.asarray(self.answers[who].columns["rank"] == 1)

    def truth(self, place: int) -> str:
        """The right answer to an item; of several, one."""
        return _named(self.first, self.first.target, place)

    def said(self, who: str, place: int) -> str:
        """What a network answered."""
        best = self.answers[who].best
        return _named(self.answers[who], None if best is None else best[:, 0], place)


def heard(comparison: Comparison) -> list[Heard]:
    """The main table of every evaluation in which all recipes were asked the same, and answered with rows; the teacher
    is heard where it is kept.
    """
    speaking = {arm.name: arm.runs[0].rows for arm in comparison.arms if arm.runs}
    teacher = comparison.baseline.runs[0].teacher
    found = []
    for place, asking in comparison.baseline.runs[0].rows.items():
        store = asking.made_of["eval"].get("store")
        by_who = {who: rows[place].answers for who, rows in speaking.items() if place in rows}
        if place[1] or not isinstance(store, str) or len(by_who) < len(speaking) or place[0] in comparison.apart:
            continue
        if place in teacher:
            by_who = {TEACHER: teacher[place].answers} | by_who
        if all(_right_or_wrong(one) for one in by_who.values()):
            called = {who: _called(one, asking.made_of["eval"]) for who, one in by_who.items()}
            found.append(Heard(place[0], store, called))
    return found


def _called(answers: Answers, eval_: dict[str, Any]) -> Answers:
    """With classes by their names."""
    if answers.names is None:
        return answers
    called = called_answers(eval_, answers.names)
    return replace(answers, names=[called.get(name, name) for name in answers.names])


def roots(comparison: Comparison) -> dict[str, str]:
    """Where images lie by now, by the name of their store, as the evaluations were told."""
    told: dict[str, str] = {}
    for run in (run for arm in comparison.arms for run in arm.runs):
        path = run.folder.parent / "evaluation.json"
        if path.is_file():
            roots = read_result(path.parent).get("roots", {})
            told = {name: expand(root) for name, root in roots.items()} | told
    return told


def _right_or_wrong(answers: Answers) -> bool:
    return {"rank", "margin"} <= answers.columns.keys() and answers.target is not None and answers.best is not None


def _named(answers: Answers, numbers: np.ndarray | None, place: int) -> str:
    if numbers is None or answers.names is None:
        return ""
    return str(answers.names[int(numbers[place])])
