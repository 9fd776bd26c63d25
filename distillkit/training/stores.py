"""The stores that a recipe names, opened."""

from __future__ import annotations

from functools import reduce

import numpy as np
from jaxtyping import Int64

from distillkit.errors import RecipeError, StoreError, TrainError
from distillkit.evals._labels import labels_of
from distillkit.evals._shots import shots_of
from distillkit.originals import moved
from distillkit.recipe import Data, Mixed
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.system.wording import count
from distillkit.training.ask import Ask, stored
from distillkit.training.images import Images

_FAR = 0.1  # of what is asked, by which a share of a batch may miss it untold


def image_stores(data: Data, seed: int, ask: Ask = stored) -> list[Images]:
    """The image stores of a recipe, each with its share of a batch; the shares add up to the batch."""
    mixed = data.mix or ([Mixed(images=data.images)] if data.images else [])
    roots = moved(data)
    ends = np.cumsum([0.0, *(one.weight for one in mixed)])
    shares = np.diff(np.rint(ends / max(ends[-1], 1e-30) * data.batch_size).astype(int)).tolist()
    found = []
    for number, (one, share) in enumerate(zip(mixed, shares, strict=True)):
        store = open_store(one.images, data.teacher, "data.teacher")
        others = {
            name: open_store(also.images or one.images, also.teacher, f"data.also.{name}.teacher")
            for name, also in data.also.items()
        }
        if share == 0:
            raise RecipeError(f"data.mix: {store.path} gets no image of a batch of {data.batch_size}; raise its weight")
        among, told = _of_use(store, one.shots, data)
        root = roots.get(store.path.resolve())
        images = Images(
            store, data, seed=seed, share=share, others=others, root=root, number=number, ask=ask, among=among
        )
        images.notes += [*told, *_not_as_asked(store, share, data.batch_size, one.weight / ends[-1])]
        if images.passes == 0:
            raise TrainError(
                f"{store.path}: no batch of {share} from {count(len(images.order), 'row')}; lower data.batch_size"
            )
        found.append(images)
    for images in found[1:]:
        field = next(iter(found[0].widths()))
        refuse_other_teacher(found[0].store, field, images.store, field)
    return found


def _not_as_asked(store: FeatureStore, share: int, batch: int, asked: float) -> list[str]:
    """What to tell of a store whose share of a batch, in whole images, is far from what its weight asks for."""
    if abs(share / batch - asked) <= _FAR * asked:
        return []
    gets = f"gets {share} of the {count(batch, 'image')} of a batch, {100 * share / batch:.3g}%"
    return [f"{store.path}: {gets}, where its weight asks for {100 * asked:.3g}%; raise data.batch_size to come nearer"]


def _of_use(store: FeatureStore, shots: int | None, data: Data) -> tuple[Int64[np.ndarray, "n"] | None, list[str]]:
    """The only rows that are used, and what to tell of the others; None where all are.

    Of few images of each class evaluations leave out the same ones. Where texts are classes, or labels are
    learned, an image has to have one, and where captions are learned from, a caption.
    """
    parts: list[Int64[np.ndarray, "n"]] = []
    told: list[str] = []
    if data.captions != "none":
        captioned, usable = store.rows_with("text"), len(store.ok_rows)
        if len(captioned) < usable:
            parts.append(captioned)
            lacking = f"{usable - len(captioned):,} of {count(usable, 'image')}"
            told.append(f"{store.path}: {lacking} have no caption and are left out")
    if shots or data.classes or data.labels:
        labels = labels_of(store, data.class_names)
        if shots:
            parts.append(store.ok_rows[shots_of(store, labels, shots)])
        elif labels.unlabelled:
            parts.append(store.ok_rows[labels.places])
            lacking = f"{labels.unlabelled:,} of {count(labels.usable, 'image')}"
            told.append(f"{store.path}: {lacking} have no class and are left out")
    return (reduce(np.intersect1d, parts) if parts else None), told


def open_store(path: str, teacher: str | None, knob: str) -> FeatureStore:
    """A store, and of several teachers in it the one that is learned from."""
    store = FeatureStore(expand(path))
    several = len(store.manifest.teachers) > 1  # what was added later is meant only when it is named
    if several and teacher is None:
        names = ", ".join(store.manifest.teachers)
        raise RecipeError(f"{store.path}: has features of several teachers ({names}); name one of them in {knob}")
    # A text store of one teacher may know it by another name: whether it is the same one, its fingerprint tells.
    return FeatureStore(store.path, teacher) if several or teacher in store.teachers else store


def texts_store(path: str, teacher: str | None, knob: str) -> FeatureStore:
    """The same of a store whose texts are learned from, as `knob` says; StoreError where it has features of none."""
    store = open_store(path, teacher, "data.teacher")
    try:
        store.field("text")
    except StoreError as error:
        raise StoreError(
            f'{knob}: {error}; name a store of texts, extracted with fields = ["text"], or leave {knob} out'
        ) from error
    return store
