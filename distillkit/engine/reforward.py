"""Asking the teachers again: does a store hold what they say of its images and texts?

Checksums tell that a store is as it was written. This tells that what was written is true: sampled rows (and views) are
read from the corpus, shown to the teacher that the store names, and compared with what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.originals import Originals
from distillkit.pixels.views import unpacked
from distillkit.recipe import Component, ExtractRecipe
from distillkit.store.format.field import PARAMETERS
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.progress import heard_by, paced
from distillkit.system.wording import as_word
from distillkit.system.wording import count as counted
from distillkit.teachers._again import component_of
from distillkit.teachers._said import fingerprint_of, said_of

_BATCH = 32
# Rounding to 16 bits costs 1e-6 of a cosine, other kernels in half precision 1e-3; another image costs much more.
LEAST_COSINE = 0.99
LEAST_SHARED = 0.7  # of the best classes of a row: at its end neighbours in rank change places for a rounding
_LENGTHS = (0.97, 1.03)  # of what is stored, as a share of what is said now
_NAMES = ("int32", "uint8")  # dtypes whose numbers name things and measure nothing
_NAMED = 5
_NOW = "the teacher, asked again"


@dataclass(frozen=True)
class Agreement:
    """How the sampled rows of one field agree with what its teacher says now: `values` are cosines, or shares."""

    field: str
    word: str
    values: np.ndarray
    problems: list[str]

    @property
    def numbers(self) -> dict[str, Any]:
        """What `line` tells, for programs."""
        names = ("least", "1%", "median")
        found = dict(zip(names, np.quantile(self.values, (0, 0.01, 0.5)).tolist(), strict=True))
        told = found | {"mean": float(self.values.mean())}
        return {"field": self.field, "rows": len(self.values), "measure": self.word, **told}

    def line(self) -> str:
        """For people."""
        told = ", ".join(f"{name} {self.numbers[name]:.6f}" for name in ("least", "1%", "median", "mean"))
        return f"{self.field}  {counted(len(self.values), 'row')}, {self.word} {told}"


def reforward(
    store: FeatureStore, count: int, recipe: ExtractRecipe | None = None, say: Say = silent
) -> Iterator[Agreement | str]:
    """What was found of each field, and, as a text, what does not fit a teacher as a whole.

    The teachers are the store's own, found again by what it says of them, or those of `recipe`. StoreError when nothing
    can be asked again.
    """
    store, random = store.relying_on(list(store.fields)), np.random.default_rng(0)
    having = {name: store.rows_with(name) for name in store.fields}
    fields = [name for name, found in having.items() if len(found)]  # where no image has a caption, all but the text
    if not fields:
        raise StoreError(
            f"{store.path}: no row has features to compare; why: distillkit store failures {as_word(store.path)}"
        )
    usable = reduce(np.intersect1d, (having[name] for name in fields))
    rows = np.sort(random.choice(usable, min(count, len(usable)), replace=False))
    views = random.integers(0, store.views.count, len(rows))
    asked = 0
    for alias, record in store.teachers.items():
        component = teacher_of(store, alias, record, recipe)
        if component is None:
            continue
        asked += 1
        with heard_by(say):
            network: Any = component.build("teachers")
        # What was imported says little of its teacher, and nothing of how that is called here.
        told = {} if record.get("kind") == "imported" else record
        said = fingerprint_of(network, component.kind)
        other = other_teacher(told, {key: said.get(key) for key in told})
        if other:
            yield f"teacher {alias}: {other}"
        yield from _compared(store, fields, rows, views, alias, network, bool(record.get("normalised")), say)
    if not asked:
        raise StoreError(
            f"{store.path}: none of its teachers can be run again; name the extraction recipe with --recipe"
        )


def teacher_of(
    store: FeatureStore, alias: str, record: Mapping[str, Any], recipe: ExtractRecipe | None
) -> Component | None:
    """The teacher to ask: from the recipe, or from the knobs that the record tells; None for what is no teacher."""
    if recipe is not None:
        found = recipe.by_alias
        return found.get(alias) or (next(iter(found.values())) if len(found) == 1 else None)
    component = component_of(record)
    if component is None:
        return None
    knobs = component.knobs
    shapes = {full.split("/", 1)[1]: field.view_shape for full, field in store.fields.items() if field.teacher == alias}
    if "logits" in shapes:
        knobs["top_k"] = shapes["classes"][0] if "classes" in shapes else "all"
    component = Component(kind=component.kind, **knobs)
    whole = component.build("teachers").fields.get("patches") if "patches" in shapes else None
    if whole and whole != shapes["patches"]:
        component = Component(kind=component.kind, **knobs, grid=math.isqrt(shapes["patches"][0]))
    component.check("teachers", f"{store.path}: teacher {alias}")
    return component


def _compared(
    store: FeatureStore,
    fields: list[str],
    rows: np.ndarray,
    views: np.ndarray,
    alias: str,
    network: Any,
    normalised: bool,
    say: Say,
) -> Iterator[Agreement]:
    """Every field of `fields` that the network gives, a batch at a time."""
    names = {f"{alias}/{name}": name for name in network.fields if f"{alias}/{name}" in fields}
    files = Originals(store, None) if set(names.values()) - {"text"} else None
    found: dict[str, list[np.ndarray]] = {full: [] for full in names}
    for first in paced(f"{store.path}: rows asked of {alias} again", len(rows), _BATCH, say):
        some, seen = rows[first : first + _BATCH], views[first : first + _BATCH]
        said = said_now(network, set(names.values()), store, files, some, seen)
        for full, name in names.items():
            then = store.read(full, some, view=seen if store.fields[full].per_view else None)
            found[full].append(_agreement(full, then, said[name]))
    keys = store.values("key", rows)
    for full, batches in found.items():
        values, lengths = np.concatenate(batches, axis=1)
        word, least = ("cosine", LEAST_COSINE) if store.fields[full].dtype not in _NAMES else ("shared", LEAST_SHARED)
        problems = []
        for row, key, value, length in zip(rows, keys, values, lengths, strict=True):
            if not value >= least:
                problems.append(f"{full}: row {row} ({key!r}): {word} {value:.4f}")
            elif not (normalised or _LENGTHS[0] <= length <= _LENGTHS[1]):
                problems.append(f"{full}: row {row} ({key!r}): its length is {length:.3f} of what the teacher says")
        more = [f"{full}: and {counted(len(problems) - _NAMED, 'more row')}"] if problems[_NAMED:] else []
        yield Agreement(full, word, values, problems[:_NAMED] + more)


def said_now(
    network: Any, names: set[str], store: FeatureStore, files: Originals | None, rows: np.ndarray, views: np.ndarray
) -> dict[str, Tensor]:
    """What the network says now of some rows: [rows, *shape] by field."""
    said: dict[str, Tensor] = {}
    if "text" in names:
        tokens, _ = network.tokenize(store.values("text", rows))
        asked = network.forward(tokens=tokens, fields=["text"])
        said["text"] = said_of(network, asked, "text", len(rows), _NOW)
    if files is not None:
        shown = torch.stack([_pixels(network, store, files, row, view) for row, view in zip(rows, views, strict=True)])
        asked = sorted(names - {"text"})
        answer = network.forward(pixels=shown, fields=asked)
        said |= {name: said_of(network, answer, name, len(rows), _NOW) for name in asked}
    return said


def _pixels(network: Any, store: FeatureStore, files: Originals, row: int, view: int) -> Tensor:
    """What the teacher was shown of a row: a stored view of it, or its own evaluation transform."""
    image, *_ = files.open(int(row))
    pixels: Tensor
    if PARAMETERS not in store.fields or (view == 0 and store.manifest.views.get("clean_first")):
        pixels = network.preprocess(image)
    else:
        drawn = store.read(PARAMETERS, np.array([row]), view=int(view))
        pixels = network.preprocess(image, unpacked(drawn[0].numpy()))
    return pixels


def _agreement(full: str, then: Tensor, now: Tensor) -> np.ndarray:
    """Cosine of each row, and its stored length as a share of the one it has now: float32 [2, rows].

    Of numbers that name things, such as classes, instead of the cosine the share of them that both have.
    """
    if then.shape != now.shape:
        raise StoreError(f"{full}: rows are {list(then.shape[1:])}, the teacher now gives {list(now.shape[1:])}")
    if not then.is_floating_point():
        shared = (then[:, :, None] == now[:, None, :]).any(2).float().mean(1)
        return torch.stack([shared, torch.ones(len(then))]).numpy()
    then, now = then.float().flatten(1), now.float().flatten(1)
    lengths = then.norm(dim=1) / now.norm(dim=1)
    return torch.stack([torch.cosine_similarity(then, now), lengths]).numpy()
