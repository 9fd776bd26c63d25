"""Which images are learned from, and which of them are held out, to choose a knob by. What is asked is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.evals._encode import Encode, OpenStore, blank
from distillkit.evals._labels import Labels, quoted
from distillkit.evals._marks import Marks
from distillkit.system.evenly import evenly
from distillkit.system.one_image import places_among
from distillkit.system.wording import as_word, count

_FEW = 64


def learned_from(labels: Labels, encode: Encode) -> Labels:
    """All of these images; of a network that says nothing a few, spread over all of them."""
    if not blank(encode):
        return labels
    return labels.but(np.setdiff1d(labels.places, evenly(labels.places, _FEW)))


def held_out(sizes: Sequence[int], share: float, seed: int = 0) -> tuple[Int[Tensor, "l"], Int[Tensor, "c"]]:
    """Places to learn from, and to choose by, of stores of these sizes put together: of two the second chooses, of one
    a `share` that is drawn.
    """
    if len(sizes) == 2:
        return torch.arange(sizes[0]), torch.arange(sizes[0], sum(sizes))
    order = torch.randperm(sizes[0], generator=torch.Generator().manual_seed(seed))
    held = max(int(sizes[0] * share), 1)
    return order[held:], order[:held]


def left_out(
    train: Any, rows: Int64[np.ndarray, "n"], store: Any, asked: Int64[np.ndarray, "m"]
) -> Int64[np.ndarray, "s"]:
    """Places in `rows` of `train` whose images are asked, as rows of `store`: they are not learned from.

    StoreError where these are all.
    """
    found = np.flatnonzero(places_among(train, rows, store, asked) >= 0)
    if len(found) and len(found) == len(rows):
        raise StoreError(
            f"{train.path}: not one of its {count(len(rows), 'image')} is left to learn from, as all are measured; "
            f"measure a part of them: distillkit store view {as_word(train.path)} HELD-OUT --share 0.2, and name "
            "HELD-OUT as store"
        )
    return found


def but_asked(stores: Sequence[Any], labels: Sequence[Labels]) -> list[Labels]:
    """The same images of these stores, of all but the last without those that the last one asks about; and of three
    the first without those of the second, which choose: what was learned from chooses the weakest L2.
    """
    store, asked = stores[-1], labels[-1]
    if len(stores) == 3:
        labels = [_but_those_that_choose(stores, labels), *labels[1:]]
    rows, shared, found = store.ok_rows[asked.places], np.zeros(len(asked.places), bool), []
    for train, one in zip(stores[:-1], labels[:-1], strict=True):
        known = train.ok_rows[one.places]
        shared |= places_among(store, rows, train, known) >= 0
        found.append(one.but(one.places[left_out(train, known, store, rows)]))
    return [*found, replace(asked, shared=int(shared.sum()))]


def _but_those_that_choose(stores: Sequence[Any], labels: Sequence[Labels]) -> Labels:
    (train, choosing), (one, other) = stores[:2], labels[:2]
    known = train.ok_rows[one.places]
    both = places_among(train, known, choosing, choosing.ok_rows[other.places]) >= 0
    if len(both) and both.all():
        raise StoreError(
            f"{train.path}: all of its {count(len(known), 'image')} are in validation_store, too: {choosing.path}; "
            "leave validation_store out, and a share of the images is held out, or name a store of other images"
        )
    return one.but(one.places[both])


def with_examples(known: Sequence[Labels], asked: Labels, itself: Int64[np.ndarray, "n"] | None = None) -> Labels:
    """The same images that are asked, with those of whose class none of `known` is. `itself`: for each its place in the
    first of these, -1 where it is not there, as it is no example for itself.
    """
    ids, many = np.unique(np.concatenate([one.ids for one in known]), return_counts=True)
    place = np.searchsorted(ids, asked.ids).clip(max=len(ids) - 1)
    examples = np.where(ids[place] == asked.ids, many[place], 0)
    if itself is not None:
        examples = examples - ((itself >= 0) & (known[0].ids[itself] == asked.ids))
    return replace(asked, bare=asked.places[examples < 1])


def unshown(checked: Any) -> list[str]:
    """What is to be told of classes that are asked and have no example, in a line, by what the `check` of a measure
    found; nothing of one that learns from no images.
    """
    parts = [part for one in (checked if isinstance(checked, tuple) else ()) for part in _each(one)]
    labels = [part for part in parts if isinstance(part, Labels)]
    marks = [part for part in parts if isinstance(part, Marks)]
    if len(marks) == 2:
        known, asked = marks
        bare = without_example(asked.hit > 0, np.asarray((known.hit > 0).any(0)))
        called = quoted([asked.classes[one] for one in bare.classes])
        return [untaught(known.path, asked.path, bare, len(asked.places), called, "--keys")] if bare.images else []
    if not labels or not len(labels[-1].bare):
        return []
    first, last = labels[0], labels[-1]
    classes = np.unique(last.ids[np.isin(last.places, last.bare)]).tolist()
    bare = Bare(len(last.bare), classes)
    return [untaught(first.path, last.path, bare, len(last.places), last.called(classes), "--labels")]


class Bare(NamedTuple):
    """How many images are of classes that nothing that is learned from is of, and which classes these are."""

    images: int
    classes: list[int]


def without_example(asked: Bool[np.ndarray, "n c"], known: Bool[np.ndarray, "c"]) -> Bare:
    """Of images that are of several classes each, those of a class that is not `known`."""
    unknown = asked & ~known
    return Bare(int(unknown.any(1).sum()), np.flatnonzero(unknown.any(0)).tolist())


def untaught(train: Path, asked: Path, bare: Bare, images: int, called: str, by: str) -> str:
    """What every measure tells of these, in one sentence. `by`: the option that takes the others of them alone."""
    return (
        f"{asked}: {bare.images:,} of {count(images, 'image')} are of "
        f"{count(len(bare.classes), 'class', 'classes')} that {train} has no example of, as {called}, "
        f"so nobody can learn them; add such images to {train}, or take the others of {asked} alone: "
        f"distillkit store view {as_word(by)}"
    )


def _each(one: Any) -> list[Any]:
    return one if isinstance(one, list) else [one]


def any_choosing(measure: Any, open_store: OpenStore) -> bool:
    """Whether images that choose are also among those to learn from."""
    if not getattr(measure, "validation_store", None):
        return False
    train, choosing = open_store(measure.train), open_store(measure.validation_store)
    return bool((places_among(train, train.ok_rows, choosing, choosing.ok_rows) >= 0).any())


def any_shared(measure: Any, open_store: OpenStore) -> bool:
    """Whether a measure asks about images that it would else learn from, or find."""
    named = [getattr(measure, name, None) for name in ("train", "validation_store")]
    gallery = getattr(measure, "gallery", None)
    if getattr(measure, "right", None) == "class" and gallery != measure.store:  # within one nothing ever found itself
        named.append(gallery)
    pairs = [(open_store(measure.store), open_store(name)) for name in named if name]
    return any((places_among(store, store.ok_rows, one, one.ok_rows) >= 0).any() for store, one in pairs)
