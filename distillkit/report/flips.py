"""Images that one network gets and another does not, the surest first; and what that comes to, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distillkit.evaluation.arms import TEACHER
from distillkit.report.heard import Heard

SHOWN = 24
CLASSES = 400


@dataclass(frozen=True)
class Flip:
    """One image: what is right, and what the one that is wrong said. `sure`: by how much the one led, plus by how much
    the other one was misled.
    """

    key: str
    truth: str
    said: str
    sure: float


@dataclass(frozen=True)
class Gallery:
    """What `winner` gets and `loser` does not: `count` of `items`, the first of them in `flips`."""

    eval: str
    store: str
    winner: str
    loser: str
    count: int
    items: int
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class ClassChange:
    """One class (or concept) of an evaluation: how many of its items the baseline gets, and how many the other one."""

    name: str
    items: int
    before: int
    after: int


@dataclass(frozen=True)
class Changes:
    """Of all `classes` the ones that changed most: gains, then losses, the largest of either first, then the rest."""

    eval: str
    baseline: str
    who: str
    classes: int
    shown: tuple[ClassChange, ...]


def galleries(evals: list[Heard]) -> list[Gallery]:
    """For each evaluation: what the teacher gets and a recipe does not, then recipes and baseline, both ways."""
    return [_gallery(heard, winner, loser) for heard in evals for winner, loser in _pairs(list(heard.answers))]


def changes(evals: list[Heard], most: int = CLASSES) -> list[Changes]:
    """For each evaluation and recipe, its classes against the baseline's; none where no class has two items."""
    found = []
    for heard in evals:
        group = heard.first.group
        if group is None or len(np.unique(group)) == len(group):
            continue
        baseline, *others = [who for who in heard.answers if who != TEACHER]
        if not others and TEACHER in heard.answers:
            others = [TEACHER]
        found += [_changes(heard, group, baseline, who, most) for who in others]
    return found


def _pairs(networks: list[str]) -> Iterator[tuple[str, str]]:
    baseline, *others = [who for who in networks if who != TEACHER]
    if TEACHER in networks:
        yield from ((TEACHER, who) for who in (baseline, *others))
    for who in others:
        yield who, baseline
        yield baseline, who


def _gallery(heard: Heard, winner: str, loser: str) -> Gallery:
    places = np.flatnonzero(heard.right(winner) & ~heard.right(loser))
    led, misled = (np.asarray(heard.answers[who].columns["margin"], np.float64)[places] for who in (winner, loser))
    sure = led - misled
    order = np.argsort(-sure, kind="stable")[:SHOWN]
    flips = tuple(
        Flip(heard.keys[place], heard.truth(place), heard.said(loser, place), float(sure[n]))
        for n, place in zip(order.tolist(), places[order].tolist(), strict=True)
    )
    return Gallery(heard.eval, heard.store, winner, loser, len(places), len(heard.keys), flips)


def _changes(heard: Heard, group: np.ndarray, baseline: str, who: str, most: int) -> Changes:
    _, first, number, items = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    before, after = (np.bincount(number, heard.right(one)).astype(int) for one in (baseline, who))
    gain = (after - before) / items
    chosen = np.argsort(-np.abs(gain), kind="stable")[:most]
    chosen = np.concatenate([chosen[gain[chosen] > 0], chosen[gain[chosen] < 0], chosen[gain[chosen] == 0]])
    shown = tuple(
        ClassChange(heard.truth(int(first[n])), int(items[n]), int(before[n]), int(after[n])) for n in chosen.tolist()
    )
    return Changes(heard.eval, baseline, who, len(first), shown)
