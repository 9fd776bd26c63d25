"""Classes of two stores that number them otherwise: one class is what both call by one name, whatever its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count as every

import numpy as np

from distillkit.evals._labels import Labels
from distillkit.system.wording import count


def by_name(*labels: Labels) -> list[Labels]:
    """The same images, all with the numbers that the store of the last ones has for what it knows by name.

    Without names in both stores, or where none is shared or one means two, numbers are all there is to go by.
    """
    asked, found = labels[-1], []
    known, matched = dict(asked.names), 0
    for one in labels[:-1]:
        new = _numbers(one, known, asked)
        moved = {number: there for number, there in (new or {}).items() if number != there}
        if new is None or not moved:
            found.append(one)
            continue
        found.append(renumbered(one, new))
        known = {**found[-1].names, **known}
        matched = max(matched, len(_found_under(one, moved, asked)))
    return [*found, replace(asked, matched=matched)]


def renumbered(labels: Labels, new: Mapping[int, int]) -> Labels:
    """The same images, whose classes are numbered so, and are known by name under those numbers."""
    ids, place = np.unique(labels.ids, return_inverse=True)
    names = {name: new[number] for name, number in labels.names.items() if number in new}
    return replace(labels, names=names, ids=np.array([new[number] for number in ids.tolist()], np.int64)[place])


def numbered_otherwise(one: Labels, asked: Labels) -> tuple[str, bool]:
    """In a line, whether classes of two stores were matched by their names, where not all is plain; and whether so."""
    new = _numbers(one, asked.names, asked)
    moved = {number: there for number, there in (new or {}).items() if number != there}
    if shared := _found_under(one, moved, asked):
        name, number = next((name, number) for name, number in one.names.items() if number in shared)
        told = f"{count(len(shared), 'class', 'classes')} matched by name, as {name!r}"
        such = f"which is {number} here and {shared[number]} there"
        return f"{one.path}: its classes are numbered otherwise than those of {asked.path}: {told}, {such}", True
    if moved:
        return "", True  # their numbers mean other classes there, and they keep apart
    if new is not None or not np.isin(one.ids, asked.ids).any() or not (one.names or asked.names):
        return "", False
    if one.names and asked.names:
        why = f"its names of classes and those of {asked.path} do not say which are one"
    else:
        bare, named = (one, asked) if asked.names else (asked, one)
        why = f"the classes of {bare.path} have no names, those of {named.path} have"
    cure = "where these mean others, extract both with classes = true, from folders of the same names"
    return f"{one.path}: {why}, so equal numbers are taken for one class; {cure}", False


def _found_under(one: Labels, moved: Mapping[int, int], asked: Labels) -> dict[int, int]:
    """Of the classes that get another number, those that were found by their names. The others move only because their
    number is taken.
    """
    known = {number for name, number in one.names.items() if name in asked.names}
    return {number: there for number, there in moved.items() if number in known}


def _numbers(one: Labels, known: Mapping[str, int], asked: Labels) -> dict[int, int] | None:
    """For each number of a class in `one`, its new number. A class that `known` has by name gets the number there; any
    other keeps its own or, where that is another class by now, gets a free one. None where names tell nothing.
    """
    if not one.names.keys() & known.keys():
        return None
    ids = np.unique(one.ids).tolist()
    there: dict[int, set[int]] = {number: set() for number in ids}
    for name, number in one.names.items():
        if number in there and name in known:
            there[number].add(known[name])
    if any(len(numbers) > 1 for numbers in there.values()):
        return None
    new = {number: next(iter(numbers)) for number, numbers in there.items() if numbers}
    named, taken = set(one.names.values()), set(known.values()) | set(asked.ids.tolist())
    for number in ids:
        if number not in new:
            other = number in taken if number in named else number in new.values()
            used = taken | set(new.values()) | set(ids)
            new[number] = next(free for free in every() if free not in used) if other else number
    return new
