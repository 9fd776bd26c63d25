"""Whether class prompts are numbered as the images' classes are: by their names, which both have.

A number means one class to the images and another to the prompts where each was listed in its own order; then all
labels are valid, and all answers wrong. Names may be worded otherwise in prompts, so only those that are found at
another number tell anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._by_name import numbered_otherwise, renumbered
from distillkit.evals._encode import OpenStore
from distillkit.evals._labels import Labels, labels_of, read_names
from distillkit.system.wording import count

_CURE = "extract the prompts anew, with the names in the order of those numbers"
_MOST = 0.5  # of the names; who swaps two of many has reasons that nobody knows here


def orders_of(measure: Any, open_store: OpenStore) -> Iterator[str]:
    """What is to be told of how the stores of a measure number classes, a line for each pair of them; those that are
    not there tell nothing.
    """
    yield from (line for line, _ in _orders(measure, open_store) if line)


def any_matched(measure: Any, open_store: OpenStore) -> bool:
    """Whether a measure puts some classes under other numbers, by their names."""
    return any(matched for _, matched in _orders(measure, open_store))


def _orders(measure: Any, open_store: OpenStore) -> Iterator[tuple[str, bool]]:
    for side in getattr(measure, "sides", ()):
        yield from _orders(side, open_store)
    names, first = getattr(measure, "classes", None), getattr(measure, "first_class", 0)
    store, prompts = getattr(measure, "store", None), getattr(measure, "prompts", None)
    further = [getattr(measure, name, None) for name in ("train", "validation_store", "gallery")]
    others = [one for one in further if one and one != store]
    asked = [(one, prompts) for one in [store, *others]]
    asked += [(one["store"], one.get("prompts")) for one in getattr(measure, "shifted", {}).values()]
    for images, texts in asked:
        if images and texts:
            yield from _order(images, texts, open_store, names, first)
    if prompts or names is not None or not hasattr(measure, "classes") or getattr(measure, "right", "class") != "class":
        return
    try:
        *known, labels = (labels_of(open_store(one)) for one in [*others, store])
    except StoreError:
        return
    for one in known:
        line, matched = numbered_otherwise(one, labels)
        if line or matched:
            yield line, matched


def order_of(
    images: str, prompts: str, open_store: OpenStore, names: str | None = None, first: int = 0
) -> Iterator[str]:
    """A line where most classes of `images` are prompted under another number. RecipeError where `names` says so: by
    that file the images' captions are numbered, so nothing else can be meant.
    """
    yield from (line for line, _ in _order(images, prompts, open_store, names, first))


def _order(
    images: str, prompts: str, open_store: OpenStore, names: str | None, first: int
) -> Iterator[tuple[str, bool]]:
    try:
        opened, asked = open_store(images), open_store(prompts)
        said, listed = _prompts(asked), _listed(opened, names, first)
    except StoreError:  # not there yet, or without classes: told where they are needed
        return
    told = _away(said, listed)
    if not told:
        return
    told = f"{asked.path}: its prompts are in another order than the classes of {names or opened.path}: {told}"
    if names is not None:
        raise RecipeError(f"{told}; {_CURE}")
    try:
        yield f"{told}; they are matched by their names", as_prompted(labels_of(opened, None, first), asked).matched > 0
    except StoreError as error:
        yield str(error), False


def as_prompted(labels: Labels, prompts: Any) -> Labels:
    """The same images, with the numbers that the prompts have for their classes, where most have another one and all
    are found by their names; StoreError where not all are: nobody could say then which prompts are meant.
    """
    listed = {words: number for name, number in labels.names.items() if (words := _words(name))}
    if not listed:
        return labels
    said = _prompts(prompts)
    told = _away(said, listed)
    if not told:
        return labels
    new, lost = _matched(said, listed, np.unique(labels.ids).tolist())
    if lost is not None:
        raise StoreError(
            f"{prompts.path}: its prompts are in another order than the classes of {labels.path}: {told}; "
            f"and none of them is found by its name alone for class {labels.called([lost])}; {_CURE}"
        )
    return replace(renumbered(labels, new), matched=sum(number != there for number, there in new.items()))


def _away(said: Mapping[int, list[str]], listed: Mapping[str, int]) -> str:
    """Which classes are named in prompts of other numbers alone, in words; empty where that is not most of them."""
    known = {name: number for name, number in listed.items() if number in said}
    places: dict[str, set[int]] = {}
    for number, texts in said.items():
        for words in texts:
            for piece in _pieces(words, max(map(_length, known), default=0)):
                places.setdefault(piece, set()).add(number)
    away = {
        name: min(there) for name, number in known.items() if (there := places.get(name, set())) and number not in there
    }
    if len(away) <= _MOST * len(known):
        return ""
    name = next(iter(away))
    return (
        f"{count(len(away), 'class', 'classes')} of {len(known):,} are named under another number, as {name!r}, "
        f"which is {known[name]} there and {away[name]} here"
    )


def _matched(
    said: Mapping[int, list[str]], listed: Mapping[str, int], ids: Sequence[int]
) -> tuple[dict[int, int], int | None]:
    """The number of the prompts of each class; and the first class that has none, or several, if there is such."""
    longest, prompts = max(map(_length, listed), default=0), dict[int, set[int]]()
    for number, texts in said.items():
        if not texts:
            continue
        inside = listed.keys() & set.intersection(*(set(_pieces(words, longest)) for words in texts))
        most = max(map(_length, inside), default=0)  # "wild cat" is no cat
        owners = {listed[name] for name in inside if _length(name) == most}
        if len(owners) == 1:
            prompts.setdefault(owners.pop(), set()).add(number)
    lost = next((number for number in ids if len(prompts.get(number, ())) != 1), None)
    return {number: min(prompts[number]) for number in ids} if lost is None else {}, lost


def _listed(images: Any, names: str | None, first: int) -> Mapping[str, int]:
    """The number of each class by its name, as prompts should have it."""
    table = (
        {name: number for number, name in reversed(list(enumerate(read_names(names))))}
        if names is not None
        else images.class_numbers
    )
    return {words: number + first for name, number in table.items() if (words := _words(name))}


def _prompts(store: Any) -> dict[int, list[str]]:
    """By number, the words of the prompts of each class."""
    labels = labels_of(store)
    texts = store.index["text"].take(store.ok_rows[labels.places]).to_pylist()
    found: dict[int, list[str]] = {}
    for place in np.argsort(labels.ids, kind="stable"):
        some = found.setdefault(int(labels.ids[place]), [])
        if len(some) < 3 and texts[place]:  # every template has the name
            some.append(_words(texts[place]))
    return found


def _words(text: str) -> str:
    """Without case, Unicode form and what stands between words: "Sea_Lion" and "a sea lion." share "sea lion"."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold().replace("_", " ")))


def _length(words: str) -> int:
    return words.count(" ") + 1


def _pieces(words: str, most: int) -> Iterator[str]:
    """Every run of at most so many words."""
    split = words.split()
    for start in range(len(split)):
        for stop in range(start + 1, min(start + most, len(split)) + 1):
            yield " ".join(split[start:stop])
