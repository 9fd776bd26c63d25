"""Whether class prompts are numbered as the images' classes are: by their names, which both have.

A number means one class to the images and another to the prompts where each was listed in its own order; then all
labels are valid, and all answers wrong. Names may be worded otherwise in prompts, so only those that are found at
another number tell anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._encode import OpenStore
from distillkit.evals._labels import labels_of, read_names
from distillkit.system.wording import count

_MOST = 0.5  # of the names; who swaps two of many has reasons that nobody knows here


def orders_of(measure: Any, open_store: OpenStore) -> Iterator[str]:
    """What is wrong with the prompts of a measure, a line for each pair of stores; those not there tell nothing."""
    for side in getattr(measure, "sides", ()):
        yield from orders_of(side, open_store)
    asked = [(getattr(measure, "store", None), getattr(measure, "prompts", None))]
    asked += [(one["store"], one.get("prompts")) for one in getattr(measure, "shifted", {}).values()]
    names, first = getattr(measure, "classes", None), getattr(measure, "first_class", 0)
    for images, prompts in asked:
        if images and prompts:
            yield from order_of(images, prompts, open_store, names, first)


def order_of(
    images: str, prompts: str, open_store: OpenStore, names: str | None = None, first: int = 0
) -> Iterator[str]:
    """A line where most classes of `images` are prompted under another number. RecipeError where `names` says so: by
    that file the images' captions are numbered, so nothing else can be meant.
    """
    try:
        opened, asked = open_store(images), open_store(prompts)
        said, listed = _prompts(asked), _listed(opened, names, first)
    except StoreError:  # not there yet, or without classes: told where they are needed
        return
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
        return
    name = next(iter(away))
    told = (
        f"{asked.path}: its prompts are in another order than the classes of {names or opened.path}: "
        f"{count(len(away), 'class', 'classes')} of {len(known):,} are named under another number, as {name!r}, "
        f"which is {known[name]} there and {away[name]} here; extract the prompts anew, with the names in "
        "the order of those numbers"
    )
    if names is not None:
        raise RecipeError(told)
    yield told


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
