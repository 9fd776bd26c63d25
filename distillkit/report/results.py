"""evaluation.json as tables: who against which measure, with 95 % intervals and chance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distillkit.evals._labels import MATCHED, SHARED, UNSHOWN
from distillkit.evaluation.clusters import FEW
from distillkit.evaluation.intervals import is_exact
from distillkit.evaluation.numbers import DETAILS
from distillkit.evaluation.verdicts import few
from distillkit.recipe import TrainRecipe
from distillkit.report.words import percent
from distillkit.system.wording import count

WHO = ("teacher", "student", "baseline")
FREQUENT = "most frequent class"
_BACK = "text to image "
# What was measured on, rather than how well; and what one of it is called.
_SIZES = {"images": "image", "texts": "text", "classes": "class", UNSHOWN: UNSHOWN, SHARED: SHARED}


@dataclass(frozen=True)
class Score:
    """One measured number; `low` and `high` are its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measure:
    """One column of an evaluation. Shares are those of which chance is known, and are printed as percentages. `groups`:
    on how many independent groups of items its intervals rest, None where it has none, or nobody told. `majority`:
    what the most frequent class gives, said of everything, None where that is no more than chance.
    """

    name: str
    share: bool
    scores: dict[str, Score]
    chance: float | None
    groups: int | None = None
    majority: float | None = None

    @property
    def sure(self) -> list[Score]:
        """The numbers that have an interval, of which it is known on how many groups it rests."""
        return [one for one in self.scores.values() if one.low is not None and self.groups is not None]

    def text(self, value: float) -> str:
        return percent(value) if self.share else f"{value:.4g}"

    def cell(self, who: str) -> tuple[str, str]:
        """Value and interval, as printed; a dash where nothing is known."""
        if who == "chance":
            return ("–" if self.chance is None else self.text(self.chance)), ""
        if who == FREQUENT:
            return ("–" if self.majority is None else self.text(self.majority)), ""
        score = self.scores[who]
        if score.low is None or score.high is None:
            return self.text(score.value), ""
        low, high = (self.text(end).removesuffix("%") for end in (score.low, score.high))
        return self.text(score.value), f"{low}–{high}"


@dataclass(frozen=True)
class Table:
    """One evaluation, `eval`, or a part of it; `store` is where its images are, None where it does not say."""

    eval: str
    name: str
    caption: str
    store: str | None
    who: tuple[str, ...]
    measures: list[Measure]

    @property
    def rows(self) -> tuple[str, ...]:
        """Who has a line in it, with those that look at nothing."""
        often = any(measure.majority is not None for measure in self.measures)
        return (*self.who, "chance", *([FREQUENT] if often else []))

    @property
    def few(self) -> str:
        """A sentence where intervals of the table rest on too few independent groups of items, else empty."""
        known = [measure.groups for measure in self.measures if measure.groups is not None]
        return few(min(known)) if known else ""

    @property
    def main(self) -> Measure | None:
        """What headline and bars show: R@10, or else the first share that has an interval, or the first number."""
        sure = [measure for measure in self.measures if any(score.low is not None for score in measure.scores.values())]
        sure.sort(key=lambda measure: not measure.share)
        return next((measure for measure in sure if measure.name == "R@10"), sure[0] if sure else None)


def method(tables: Sequence[Table]) -> str:
    """How their intervals are made."""
    found = [(one.groups or 0, score) for table in tables for one in table.measures for score in one.sure]
    known = [groups for groups, score in found if not is_exact(score.value, score.low, score.high, groups)]
    exact = "exact ones of Clopper and Pearson"
    if found and not known:
        return exact
    drawn = _drawn(known)
    return drawn if len(known) == len(found) else f"{drawn}; where all answers are right, or none is, {exact}"


def _drawn(known: Sequence[int]) -> str:
    drawn = "a bootstrap that draws items, those of one text or class together where each has one"
    if not any(one < FEW for one in known):
        return f"by {drawn}"
    student = "Student’s t, as wide as the spread of"
    if all(one < FEW for one in known):
        return f"by {student} {drawn}"
    return f"by {drawn}; where such groups are fewer than {FEW}, by {student} what it draws"


def tables(results: dict[str, Any], recipe: TrainRecipe) -> list[Table]:
    """Every evaluation, in the order of the recipe."""
    knobs = {component.knobs.get("name") or component.kind: component.knobs for component in recipe.evals}
    order = [name for name in knobs if name in results] + [name for name in results if name not in knobs]
    return [
        _table(name, part, knobs.get(name, {}).get("store"), by_who)
        for name in order
        for part, by_who in _parts(results[name]).items()
    ]


def _parts(by_who: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers of retrieval the other way are a table of their own."""
    back = {
        who: {key.removeprefix(_BACK): value for key, value in values.items() if key.startswith(_BACK)}
        for who, values in by_who.items()
    }
    main = {
        who: {key: value for key, value in values.items() if not key.startswith(_BACK)}
        for who, values in by_who.items()
    }
    return {"": main} | ({_BACK.strip(): back} if all(back.values()) else {})


def bars(table: Table) -> list[dict[str, str]]:
    """The main measure as bars from zero, with whiskers; lengths in percent of the longest. None is no bars."""
    measure = table.main
    if measure is None:
        return []
    ends = [end for score in measure.scores.values() for end in (score.value, score.high) if end is not None]
    whole = 1.02 * max(*ends, measure.chance or 0.0, measure.majority or 0.0)

    def length(value: float) -> str:
        return f"{100 * value / whole:.2f}" if whole else "0"

    drawn = []
    for who, score in measure.scores.items():
        bar = {"who": who, "value": measure.cell(who)[0], "length": length(score.value), "low": "", "span": ""}
        if score.low is not None and score.high is not None:
            bar |= {"low": length(score.low), "span": length(score.high - score.low)}
        drawn.append(bar)
    for who, known in (("chance", measure.chance), (FREQUENT, measure.majority)):
        if known is not None:
            value, _ = measure.cell(who)
            drawn.append({"who": who, "value": value, "length": length(known), "low": "", "span": ""})
    return drawn


def _table(name: str, part: str, store: str | None, by_who: dict[str, dict[str, float]]) -> Table:
    who = tuple(one for one in WHO if one in by_who)
    some = by_who[who[0]]
    caption = ", ".join(count(int(some[size]), one, size) for size, one in _SIZES.items() if size in some)
    caption = caption.replace(UNSHOWN, f"{UNSHOWN}, which nobody could learn")
    caption += ", where each is no example for itself" if SHARED in some else ""
    if matched := int(some.get(MATCHED, 0)):
        caption += f"; {count(matched, 'class', 'classes')} that stores number otherwise matched by name"
    # A student of another width than the teacher's lacks some measures; those of everyone are compared.
    shared = [key for key in some if all(key in by_who[one] for one in who)]
    names = [key for key in shared if key not in {*_SIZES, MATCHED} and not key.endswith(DETAILS)]
    measures = [_measure(key, by_who, who) for key in names]
    return Table(name, f"{name}, {part}".removesuffix(", "), caption, store, who, sorted(measures, key=_place))


def _measure(key: str, by_who: dict[str, dict[str, float]], who: tuple[str, ...]) -> Measure:
    def score(values: dict[str, float]) -> Score:
        return Score(values[key], values.get(f"{key}.low"), values.get(f"{key}.high"))

    chance, groups, majority = (by_who[who[0]].get(f"{key}.{what}") for what in ("chance", "groups", "majority"))
    scores = {one: score(by_who[one]) for one in who}
    return Measure(key, chance is not None, scores, chance, None if groups is None else int(groups), majority)


def _place(measure: Measure) -> tuple[Any, ...]:
    """R@1, R@5, R@10, then shares without a number, then the rest."""
    digits = [int(number) for number in re.findall(r"\d+", measure.name)]
    return (not measure.share, not digits, re.sub(r"\d+", "", measure.name), digits)
