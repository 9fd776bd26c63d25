"""What goes by the recipe's names of a run's stores: "images", of a mix "images.1" too, "texts", "also.NAME"; and what
classes are called, which an eval knows by number, or by the first of their prompts.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from distillkit.errors import StoreError
from distillkit.recipe import Data
from distillkit.recipe.registry import resolve
from distillkit.sources._templates import templates_called
from distillkit.store.format.classes import classes_of
from distillkit.store.reading.reader import FeatureStore, store_or_none
from distillkit.store.reading.selection import store_behind
from distillkit.system.paths import expand

ALSO = "also."
OF_TEXTS = ("retrieval", "asymmetric_retrieval")  # evals whose answers are captions, and no classes
_TEMPLATED = ("class_prompts", "label2text", "synsets")  # sources that put the names of classes into templates

Value = TypeVar("Value")


def of_images(named: Mapping[str, Value]) -> list[Value]:
    """What belongs to the image stores, of a mix all of them."""
    return [value for name, value in named.items() if name.partition(".")[0] == "images"]


def also_of(named: Mapping[str, Any]) -> list[str]:
    """The names of the stores of further teachers, "also.NAME"."""
    return [name for name in named if name.startswith(ALSO)]


def alias_of(data: Data, name: str) -> str | None:
    """The teacher that the recipe means in its store of that name."""
    further = data.also.get(name.removeprefix(ALSO)) if name.startswith(ALSO) else None
    return further.teacher if further else data.teacher


def meant(store: FeatureStore, alias: str | None) -> str | None:
    """The teacher that is meant in a store: without an alias its first."""
    return alias or next(iter(store.said_by), None)


def called_classes(store: Path) -> dict[str, str]:
    """The names of a store's classes by what an eval calls them, "0", "1", ...; none where it knows none. Those of a
    view are the store's.
    """
    try:
        return {str(number): name for name, number in classes_of(store_behind(store)).items()}
    except StoreError:
        return {}


def called_answers(eval_: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """What to call the answers `names` of an eval: classes by their names, and not by number or prompt. Empty where the
    answers are captions.
    """
    if eval_["kind"] in OF_TEXTS:
        return {}
    prompts = eval_.get("prompts")
    if not isinstance(prompts, str):
        # It may have been moved since: what its classes are called is no reason for having no page.
        store = store_or_none(expand(eval_["store"]))
        return called_classes(store.path) if store else {}
    return dict(zip(names, _without(_ends(prompts), names), strict=True))


def _ends(prompts: str) -> tuple[str, str] | None:
    """What stands before and after the name in the first prompt of each class; None where nobody recorded that."""
    store = store_or_none(expand(prompts))
    if store is None or store.manifest.source["kind"] not in _TEMPLATED:
        return None
    source, knobs = store.manifest.source, store.manifest.source["knobs"]
    if knobs.get("templates_file") or knobs.get("descriptions"):  # neither is kept with the store
        return None
    given = inspect.signature(resolve("sources", source["kind"])).parameters["templates"].default
    templates = knobs.get("templates") or given or ["a photo of {}"]
    before, _, after = templates_called(templates)[0]("{}").partition("{}")
    return before, after


def _without(ends: tuple[str, str] | None, prompts: Sequence[str]) -> list[str]:
    """The prompts without these ends; where they do not have them, without the words that all of them begin and end
    with.
    """
    if ends and all(one.startswith(ends[0]) and one.endswith(ends[1]) for one in prompts):
        cut = [one[len(ends[0]) : len(one) - len(ends[1])].strip() for one in prompts]
    else:
        cut = _apart(prompts)
    return cut if all(cut) else list(prompts)


def _apart(prompts: Sequence[str]) -> list[str]:
    """What tells them apart: at least a word of each, without the full stop that ends all of them."""
    ended = all(one.endswith(".") for one in prompts)
    words = [(one[:-1] if ended else one).split() for one in prompts]
    if len(prompts) < 2:
        return list(prompts)
    most = min(map(len, words)) - 1
    first = min(_shared(words), max(most, 0))
    last = min(_shared([one[::-1] for one in words]), max(most - first, 0))
    return [" ".join(one[first : len(one) - last]) for one in words]


def _shared(words: Sequence[Sequence[str]]) -> int:
    """How many words all of them begin with."""
    return sum(1 for _ in takewhile(lambda at: len(set(at)) == 1, zip(*words, strict=False)))
