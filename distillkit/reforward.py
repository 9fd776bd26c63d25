"""Asking the teachers again: does a store hold what they say of its images and texts?

Checksums tell that a store is as it was written. This tells that what was written is true: sampled rows (and views) are
read from the corpus, shown to the teacher that the store names, and compared with what is stored.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.pixel_cache import Files
from distillkit.recipe import Component, ExtractRecipe, differences
from distillkit.registry import resolve
from distillkit.store.field import PARAMETERS
from distillkit.store.reader import FeatureStore
from distillkit.views import unpacked

_BATCH = 32
# Rounding to 16 bits costs 1e-6 of a cosine, other kernels in half precision 1e-3; another image costs much more.
LEAST_COSINE = 0.99
_LENGTHS = (0.97, 1.03)  # of what is stored, as a share of what is said now
_NAMED = 5


@dataclass(frozen=True)
class Agreement:
    """How the sampled rows of one field agree with what its teacher says now."""

    field: str
    cosines: np.ndarray
    problems: list[str]

    def line(self) -> str:
        least, low, middle = np.quantile(self.cosines, (0, 0.01, 0.5))
        return (
            f"{self.field}  {len(self.cosines)} rows, cosine least {least:.6f}, 1% {low:.6f}, median {middle:.6f}, "
            f"mean {self.cosines.mean():.6f}"
        )


def reforward(store: FeatureStore, count: int, recipe: ExtractRecipe | None = None) -> Iterator[Agreement | str]:
    """What was found of each field, and, as a text, what does not fit a teacher as a whole.

    The teachers are the store's own, found again by what it says of them, or those of `recipe`. StoreError when nothing
    can be asked again.
    """
    store, random = store.relying_on(list(store.fields)), np.random.default_rng(0)
    rows = np.sort(random.choice(store.ok_rows, min(count, len(store.ok_rows)), replace=False))
    views = random.integers(0, store.views.count, len(rows))
    asked = 0
    for alias, record in store.teachers.items():
        names = [full for full, field in store.fields.items() if field.teacher == alias]
        component = _component(store, alias, record, recipe)
        if component is None:
            continue
        asked += 1
        network: Any = component.build("teachers")
        # What was imported says little of its teacher, and nothing of how that is called here.
        told = {key: record.get(key) for key in record if record.get("kind") != "imported"}
        said = network.fingerprint()
        yield from (f"teacher {alias}: {line}" for line in differences(told, {key: said.get(key) for key in told}))
        now = _Now(store, network, rows, views)
        for full in names:
            name = full.split("/", 1)[1]
            if name in network.fields and not store.fields[full].dtype.startswith(("int32", "uint8")):
                yield _compare(store, full, rows, views, now.say(name), bool(record.get("normalised")))
    if not asked:
        raise StoreError(f"{store.path}: none of its teachers can be asked again; name one with --recipe")


def _component(
    store: FeatureStore, alias: str, record: Mapping[str, Any], recipe: ExtractRecipe | None
) -> Component | None:
    """The teacher to ask: from the recipe, or from the knobs that the record tells; None for what is no teacher."""
    if recipe is not None:
        found = recipe.by_alias
        return found.get(alias) or (next(iter(found.values())) if len(found) == 1 else None)
    if record.get("kind") in ("imported", "mined", None):
        return None
    parameters = inspect.signature(resolve("teachers", record["kind"])).parameters
    knobs = {name: record[name] for name in parameters if name in record}
    shapes = {full.split("/", 1)[1]: field.view_shape for full, field in store.fields.items() if field.teacher == alias}
    if "logits" in shapes:
        knobs["top_k"] = shapes["classes"][0] if "classes" in shapes else "all"
    component = Component(kind=record["kind"], **knobs)
    whole = component.build("teachers").fields.get("patches") if "patches" in shapes else None
    if whole and whole != shapes["patches"]:
        component = Component(kind=record["kind"], **knobs, grid=math.isqrt(shapes["patches"][0]))
    component.check("teachers", f"{store.path}: teacher {alias}")
    return component


class _Now:
    """What a network says now of some rows; each kind of input is shown once, for all fields."""

    def __init__(self, store: FeatureStore, network: Any, rows: np.ndarray, views: np.ndarray):
        self.store, self.network, self.rows, self.views = store, network, rows, views
        self._said: dict[str, Tensor] = {}

    def say(self, name: str) -> Tensor:
        """float32 [rows, *shape]."""
        if name not in self._said:
            names = ["text"] if name == "text" else [field for field in self.network.fields if field != "text"]
            batches = [self._ask(part, names) for part in np.array_split(np.arange(len(self.rows)), self._parts)]
            self._said |= {field: torch.cat([batch[field] for batch in batches]) for field in names}
        return self._said[name]

    @property
    def _parts(self) -> int:
        return -(-len(self.rows) // _BATCH)

    def _ask(self, places: np.ndarray, names: list[str]) -> dict[str, Tensor]:
        if names == ["text"]:
            tokens, _ = self.network.tokenize(self.store.values("text", self.rows[places]))
            said = self.network.forward(tokens=tokens, fields=names)
        else:
            said = self.network.forward(pixels=torch.stack([self._pixels(place) for place in places]), fields=names)
        return {name: getattr(said, name).float() for name in names}

    def _pixels(self, place: int) -> Tensor:
        """What the teacher was shown of a row: a stored view of it, or its own evaluation transform."""
        image, *_ = Files(self.store, None).open(int(self.rows[place]))
        number = int(self.views[place])
        view = None
        if PARAMETERS in self.store.fields and not (number == 0 and self.store.manifest.views.get("clean_first")):
            drawn = self.store.read(PARAMETERS, self.rows[place : place + 1], view=number)
            view = unpacked(drawn[0].numpy())
        pixels: Tensor = self.network.preprocess(image) if view is None else self.network.preprocess(image, view)
        return pixels


def _compare(
    store: FeatureStore, full: str, rows: np.ndarray, views: np.ndarray, now: Tensor, normalised: bool
) -> Agreement:
    """Directions of stored rows and of what is said now; lengths too, unless one of them was made 1."""
    then = store.read(full, rows, view=views if store.fields[full].per_view else None)
    then, now = then.float().flatten(1), now.flatten(1)
    if then.shape != now.shape:
        raise StoreError(f"{store.path}: {full} is {then.shape[1]} wide, the teacher now says {now.shape[1]}")
    cosines = torch.nn.functional.cosine_similarity(then, now).numpy()
    lengths = (then.norm(dim=1) / now.norm(dim=1)).numpy()
    keys = store.values("key", rows)
    wrong = cosines < LEAST_COSINE
    problems = [f"{full}: row {rows[at]} ({keys[at]!r}): cosine {cosines[at]:.4f}" for at in np.flatnonzero(wrong)]
    if not normalised:
        off = ~wrong & ((lengths < _LENGTHS[0]) | (lengths > _LENGTHS[1]))
        problems += [
            f"{full}: row {rows[at]} ({keys[at]!r}): its length is {lengths[at]:.3f} of what the teacher says"
            for at in np.flatnonzero(off)
        ]
    more = [f"{full}: and {len(problems) - _NAMED} more rows"] if problems[_NAMED:] else []
    return Agreement(full, cosines, problems[:_NAMED] + more)
