"""Whether class prompts are numbered as the images' classes are: by their names, which both have.

A number means one class to the images and another to the prompts where each was listed in its own order; then all
labels are valid, and all answers wrong. Names may be worded otherwise in prompts, so only those that are found at
another number tell anything: one is enough where prompts are the names themselves in a sentence, else it takes most.
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
_MOST = 0.5  # of the names; few that stand in prompts of others may be a part of what these say


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
    if hasattr(measure, "orders"):  # it has classes of its own, which are not the labels of its images
        yield from measure.orders(open_store)
        return
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
    """The same images, with the numbers that the prompts have for their classes, where names say that numbers mean
    other classes there, and all are found by their names; StoreError where not all are: nobody could say then which
    prompts are meant.
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
            f"and none of them is found by its name alone for class {labels.called([lost])}; {_CURE}, or take the "
            "images of the others alone: distillkit store view --labels"
        )
    return replace(renumbered(labels, new), matched=sum(number != there for number, there in new.items()))


def _away(said: Mapping[int, list[str]], listed: Mapping[str, int]) -> str:
    """Which classes are named in prompts of other numbers alone, in words; empty where that is not enough to tell."""
    if whole := _whole(said, listed):
        moved = {name: whole[name] for name, number in listed.items() if whole.get(name, number) != number}
        return _told(moved, listed, len(listed)) if moved else ""
    known = {name: number for name, number in listed.items() if number in said}
    places: dict[str, set[int]] = {}
    for number, texts in said.items():
        for words in texts:
            for piece in _pieces(words, max(map(_length, known), default=0)):
                places.setdefault(piece, set()).add(number)
    away = {
        name: min(there) for name, number in known.items() if (there := places.get(name, set())) and number not in there
    }
    return _told(away, known, len(known)) if len(away) > _MOST * len(known) else ""


def _told(away: Mapping[str, int], listed: Mapping[str, int], of: int) -> str:
    name = next(iter(away))
    verb = "is" if len(away) == 1 else "are"
    return (
        f"{count(len(away), 'class', 'classes')} of {of:,} {verb} named under another number, as {name!r}, "
        f"which is {listed[name]} there and {away[name]} here"
    )


def _whole(said: Mapping[int, list[str]], listed: Mapping[str, int]) -> dict[str, int]:
    """By name, the number of the class whose first prompt is that name in a sentence, the same one for all, such as
    "a photo of a {}". Empty where no sentence is that of most names: then prompts are worded in other ways.
    """
    longest = max(map(_length, listed), default=0)
    found: dict[str, dict[str, set[int]]] = {}  # by what is left of the sentence
    for number, texts in said.items():
        split = texts[0].split() if texts else []
        for start in range(len(split)):
            for stop in range(start + 1, min(start + longest, len(split)) + 1):
                if (name := " ".join(split[start:stop])) in listed:
                    sentence = " ".join([*split[:start], "{}", *split[stop:]])
                    found.setdefault(sentence, {}).setdefault(name, set()).add(number)
    names = max(found.values(), key=len, default={})
    alone = {name: min(numbers) for name, numbers in names.items() if len(numbers) == 1}
    return alone if len(alone) > _MOST * len(listed) else {}


def _matched(
    said: Mapping[int, list[str]], listed: Mapping[str, int], ids: Sequence[int]
) -> tuple[dict[int, int], int | None]:
    """The number of the prompts of each class; and the first class that has none, or several, if there is such."""
    whole = {listed[name]: number for name, number in _whole(said, listed).items()}
    longest, prompts = max(map(_length, listed), default=0), {one: {number} for one, number in whole.items()}
    for number, texts in said.items():
        if not texts or number in whole.values():
            continue
        inside = listed.keys() & set.intersection(*(set(_pieces(words, longest)) for words in texts))
        most = max(map(_length, inside), default=0)  # "wild cat" is no cat
        owners = {listed[name] for name in inside if _length(name) == most}
        if len(owners) == 1 and not owners & whole.keys():
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
