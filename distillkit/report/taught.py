"""Who taught a student: each of its teachers, what it was asked about, and how much of that was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.recipe import TrainRecipe
from distillkit.report.costs import with_captions
from distillkit.report.demo import teacher_name
from distillkit.report.named import also_of, meant, of_images
from distillkit.report.then import Then
from distillkit.report.training import Asked, looked_at
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import store_behind
from distillkit.system.one_image import has_doubles, rows_of_images
from distillkit.system.wording import count


@dataclass(frozen=True)
class Taught:
    """One teacher as the first sentence tells of it. `noun`: what stands before its name, which may be a folder's."""

    name: str
    looked_at: str

    @property
    def noun(self) -> str:
        return "network" if "teacher" in self.name.lower() else "teacher"


def taught(recipe: TrainRecipe, facts: Mapping[str, Any], then: Mapping[str, Then], demo: Path | None) -> list[Taught]:
    """Of `data.also` each, after the main one."""
    rows = {name: one.number for name, one in then.items()}
    asked = {name: _asked(one) for name, one in then.items()}
    first = Taught(
        teacher_name(facts["teacher"].get("model", "of an import"), demo),
        looked_at(rows, with_captions(recipe), asked, _of(of_images(then))),
    )
    return [first, *(_further(name, then, asked, demo) for name in also_of(then))]


def _further(name: str, then: Mapping[str, Then], asked: Mapping[str, Asked], demo: Path | None) -> Taught:
    """A further teacher. Of rows that are joined from another store by key nobody recorded how many were found."""
    store, main = then[name].store, then.get("images")
    alike = main is not None and store_behind(main.store.path) == store_behind(store.path)
    number = main.number if alike and main else asked[name][1] or then[name].number
    model = _teacher(store).get("model", name.partition(".")[2])
    return Taught(
        teacher_name(model, demo), looked_at({"images": number}, asked={"images": asked[name]}, of=_of([then[name]]))
    )


def further_teachers(then: Mapping[str, Then]) -> list[Mapping[str, Any]]:
    """What is recorded of each of `data.also`, by its name where its model was not."""
    return [{"model": name.partition(".")[2]} | _teacher(then[name].store) for name in also_of(then)]


def _teacher(store: FeatureStore) -> dict[str, Any]:
    return dict(store.teachers.get(meant(store, store.alias) or "", {}))


def _asked(one: Then) -> Asked:
    """The store that the pass made, and about how many rows it was; None of a view that is another one today, of a run
    that did not record how many its store had then.
    """
    store, place = one.store, store_behind(one.store.path)
    if place == store.path:
        return place, one.number
    if one.of is not None:
        return place, one.of
    return place, len(store.whole.ok_rows) if one.same else None


def _of(asked: Sequence[Then]) -> str:
    """Of how many images these stores' rows are, where some have several; of those that changed nobody knows."""
    whole = {store_behind(one.store.path): one.store.whole for one in asked}
    if not any(map(has_doubles, whole.values())):
        return ""
    images = sum(len(rows_of_images(store)) for store in whole.values())
    return f" of {count(images, 'image')}" if all(one.same for one in asked) else " of images"
