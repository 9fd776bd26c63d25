"""What class prompts are called, for lists of classes that have names and no numbers: each finds its own by its name.

Known are the names that a store numbers classes by, and those in prompts that the source class_prompts made. Letter
case, and what stands between words, tell nothing: `diningtable_test.txt` is the list of "dining table".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from distillkit.errors import SourceError, StoreError
from distillkit.evals._classes import Classes, prompted
from distillkit.evals._labels import labels_of, quoted
from distillkit.recipe.registry import resolve

_BY_NAMES = "class_prompts"
# From the loosest form of a name to the strictest, for names that a looser one would not tell apart.
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda name: "".join(letter for letter in unicodedata.normalize("NFKC", name).casefold() if letter.isalnum()),
    lambda name: " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split()),
    lambda name: unicodedata.normalize("NFC", name),
)


def places_of(listed: Sequence[str], prompts: Any) -> Int64[np.ndarray, "c"] | None:
    """For each of as many listed classes which one of the store's it is; None where nobody knows what those are called.

    StoreError where they are known, and are others.
    """
    classes = prompted(prompts)
    called = _numbered(prompts, classes) or _made(prompts, classes)
    alone = [[name] for name in listed]
    form = next((one for one in _FORMS if called and _apart(called, one) and _apart(alone, one)), None)
    if form is None:
        return None
    where = {form(name): place for place, names in enumerate(called) for name in names}
    lost = [name for name in listed if form(name) not in where]
    if not lost:
        return np.array([where[form(name)] for name in listed], np.int64)
    known = {form(name) for name in listed}
    over = [names[0] for names in called if not known & {form(name) for name in names}]
    raise StoreError(
        f"{prompts.path}: its classes are not those of the lists: it has none called {quoted(lost)}, and the lists "
        f"have none called {quoted(over)}; name the classes as the files of their lists, and extract the prompts again"
    )


def _apart(called: Sequence[Sequence[str]], form: Callable[[str], str]) -> bool:
    """Whether names of several classes are never one."""
    each = [form(name) for names in called for name in {form(one): one for one in names}.values()]
    return len(set(each)) == len(each) and all(each)


def _numbered(prompts: Any, classes: Classes) -> list[list[str]]:
    """The names of each class, as the store numbers classes by them; nothing where some have none."""
    found: dict[int, list[str]] = {}
    of_id = dict(zip(classes.ids.tolist(), classes.number.tolist(), strict=True))
    for name, number in getattr(prompts, "class_numbers", {}).items():
        if number in of_id:
            found.setdefault(of_id[number], []).append(name)
    return [found[place] for place in range(len(classes))] if len(found) == len(classes) else []


def _made(prompts: Any, classes: Classes) -> list[list[str]]:
    """The name that each class was made a prompt of; nothing where they were not made of names, or of others by now."""
    labels = labels_of(prompts)
    found: dict[int, str] = {}
    try:
        names = names_made(prompts, labels.places)
    except SourceError:  # the file of templates is gone
        return []
    for place, name in zip(classes.numbers(labels).tolist(), names or [], strict=names is not None):
        form = unicodedata.normalize("NFC", (name or "").strip())
        if not form or found.setdefault(place, form) != form:
            return []
    return [[found[place]] for place in range(len(classes))] if found else []


def names_made(prompts: Any, places: Int64[np.ndarray, "m"]) -> list[str | None] | None:
    """The class name in each of these prompts; None where they were not made of names. SourceError where the file of
    templates is gone. Not from the file of names, which may say something else by now.
    """
    made_of = prompts.manifest.source if hasattr(prompts, "manifest") else {}
    if made_of.get("kind") != _BY_NAMES:
        return None
    rows = prompts.ok_rows[places]
    keys, texts = (prompts.index[of].take(rows).to_pylist() for of in ("key", "text"))
    knobs = {name: value for name, value in made_of["knobs"].items() if name.startswith("templates")}
    # By its name, as the room of evals does not know that of sources.
    kind: Any = resolve("sources", _BY_NAMES)
    found: list[str | None] = kind.names_within(zip(keys, (text or "" for text in texts), strict=True), **knobs)
    return found
