"""What is asked: one evaluation with the stores it reads, and what its answers depend on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._class_order import any_matched
from distillkit.evals._encode import OpenStore, of_images, stores_of
from distillkit.evals._held import any_choosing, any_shared, unshown
from distillkit.evals._masks import any_stretched, any_turned, reads_masks
from distillkit.evaluation.encode import Teacher
from distillkit.evaluation.files import Contents
from distillkit.recipe import Component
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.one_image import has_doubles
from distillkit.system.versions import versions

_LONGEST = 80  # of a file's name


@dataclass(frozen=True)
class Asked:
    """`measure` is the eval, built; `stores`: digests by the names that the recipe has for them.

    `counted`: how its items are counted where an older version counted otherwise, whose answers are not taken then.
    `remarks`: what is to be told of it before it is asked. `files`: what lies in the files that it names (files.py), by
    knob; an older version kept nothing of that. `turned`: whether masks are, as their images; None where there are
    none, or nobody can tell.
    """

    component: Component
    measure: Any
    stores: dict[str, str]
    counted: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    turned: bool | None = None

    @property
    def name(self) -> str:
        return str(self.measure.name)

    @property
    def made_of(self) -> dict[str, Any]:
        """All that answers depend on, beside the network that gives them."""
        eval_ = self.component.model_dump(mode="json")
        found = {"eval": eval_, "stores": self.stores, "distillkit": versions()["distillkit"]}
        found |= {"files": self.files} if self.files else {}
        return found | ({"counted": self.counted} if self.counted else {})


def name_of(component: Component) -> str:
    """What an eval of a recipe is called."""
    return str(component.knobs.get("name") or component.kind)


def slug_of(name: str) -> str:
    """A name as a file's: letters, digits, dots and dashes."""
    found = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_LONGEST]
    return found or hashlib.sha256(name.encode()).hexdigest()[:8]


def asked_of(
    evals: Sequence[Component],
    open_store: OpenStore,
    teacher: dict[str, Any],
    whose: str,
    contents: Contents | None = None,
    roots: Mapping[Path, str] | None = None,
    known: Mapping[str, Any] | None = None,
) -> list[Asked]:
    """The evals, ready to be run: RecipeError or StoreError now for what can be known before anybody is asked.

    `teacher`: fingerprint of the one that every store must be of; `whose` is what errors call that. `contents`: what
    this command has read of the files that evals name. `roots`: where images lie that were moved (originals.py).
    `known`: what evaluation.json tells of evals by now, by name.
    """
    found: list[Asked] = []
    contents = contents or Contents()
    for component in evals:
        measure = component.build("evals")
        stores = {name: open_store(name) for name in stores_of(measure)}
        for store in stores.values():
            _refuse_other_teacher(store, teacher, whose)
        remarks = unshown(measure.check(open_store)) if hasattr(measure, "check") else []
        drawn = [line for store in stores.values() if (line := _only_drawn(store))]
        counted = {"images": "each once"} if any(map(has_doubles, stores.values())) else {}
        counted |= {"classes": "by name"} if any_matched(measure, open_store) else {}
        counted |= {"itself": "no example"} if any_shared(measure, open_store) else {}
        counted |= {"validation": "not learned from"} if any_choosing(measure, open_store) else {}
        counted |= {"classes without an example": "told"} if remarks else {}
        if reads_masks(measure) and any(Teacher().looked(one, one.ok_rows[:1]) for one in stores.values()):
            counted |= {"masks": "over what was looked at"}
        counted |= {"grey of 2 or 4 bits": "its numbers"} if any_stretched(measure, open_store) else {}
        counted |= measure.counted_now(open_store) if hasattr(measure, "counted_now") else {}
        digests = {name: store.digest for name, store in stores.items()}
        files = contents.of(measure, open_store)
        one = Asked(component, measure, digests, counted, (*remarks, *drawn), files)
        if reads_masks(measure):
            turned = _turned_before(one, known or {})
            turned = any_turned(measure, open_store, Teacher(roots=roots)) if turned is None else turned
            counted |= {"masks as images lie": "turned"} if turned else {}
            one = replace(one, turned=turned)
        if any(other.name == one.name for other in found):
            raise RecipeError(f"evals: two are called {one.name!r}; give each a `name` of its own")
        found.append(one)
    return found


def _turned_before(one: Asked, known: Mapping[str, Any]) -> bool | None:
    """Whether masks are turned, where that was found out of the same stores and masks: all of their images would be
    looked at again, and these may be gone by now, which makes no answer a wrong one.
    """
    then, same = known.get(one.name), one.made_of
    if not isinstance(then, dict) or any(then.get(what) != same.get(what) for what in ("eval", "stores", "files")):
        return None
    return then.get("turned")


def typed_as(evals: str | Path | None, overrides: Sequence[str], names: Sequence[str]) -> list[str]:
    """The options that ask for the evals of a file."""
    if evals is None:
        return []
    more = [*(("--set", one) for one in overrides), *(("--only", one) for one in names)]
    return ["--eval", str(evals), *(word for pair in more for word in pair)]


def _only_drawn(store: FeatureStore) -> str | None:
    """What to tell of a store whose first view is no clean one: it is what the teacher is measured by."""
    name = of_images(store)
    if name not in store.own_fields or not store.field(name).per_view or store.manifest.views.get("clean_first"):
        return None
    return (
        f"{store.path}: holds drawn views alone, so the teacher is measured by the first of each image, the student by "
        "its middle square; extract images to measure on without views, or with clean_first = true"
    )


def teacher_of(store: FeatureStore) -> dict[str, Any]:
    """The fingerprint of who said its first field: of images as a whole, or of texts where it has no images."""
    field = next((name for name in ("image", "cls", "text") if name in store.own_fields), None)
    if field is None:
        raise StoreError(
            f"{store.path}: has no field image, cls or text to measure on; extract it with one of these in fields"
        )
    return store.teacher(field)


def _refuse_other_teacher(store: FeatureStore, want: dict[str, Any], whose: str) -> None:
    told = other_teacher(teacher_of(store), want)
    if told:
        raise StoreError(
            f"{store.path}: made by another teacher than {whose} ({told}); extract it with that teacher, or train again"
        )
