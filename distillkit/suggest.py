"""Which logit scale suits a teacher: the entropy of its targets over scales, from stored features, in a second.

    distillkit suggest-scale stores/demo/images --texts stores/demo/texts

A term's targets are softmax(scale / temperature * cosines). What is right for CLIP, 100, made the demo's teacher nearly
one-hot, and its student learned next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.losses._sharpness import ONE_HOT, UNIFORM, cosines, scale_for, share
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import cpu
from distillkit.system.numbers import refuse_less
from distillkit.system.wording import count as counted

SCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# Terms by what is compared, as the papers call them.
_TERMS = {
    ("image", "unpaired text"): "L_vl, L_vlalign",
    ("image", "own text"): "CRD, affinity",
    ("image", "image"): "L_pvl, L_udist",
}


@dataclass(frozen=True)
class Entropy:
    """Of one kind of `terms`: what is `compared`, among how many `choices`, which `share` of the entropy its targets
    have by logit scale, and at which scale half of it; `own`: the teacher's own scale.
    """

    compared: str
    terms: str
    choices: int
    share: dict[float, float]
    half_at: float
    own: float | None


def suggest_scale(
    images: str | Path,
    texts: str | Path | None = None,
    *,
    batch: int = 128,
    text_batch: int = 2048,
    teacher: str | None = None,
) -> list[str]:
    """A table of shares of the entropy, and for each kind of term the scale at which its targets have half of it.

    `batch` and `text_batch`: among how many choices a student will be trained, for entropy depends on that. `teacher`:
    whose features, where a store holds those of several. StoreError for a store without image features.
    """
    found = entropies(images, texts, batch=batch, text_batch=text_batch, teacher=teacher)
    lines = [f"{counted(found[-1].choices, 'image')} of {FeatureStore(images, teacher).path}"]
    if texts is not None:
        lines[0] += f", {counted(found[0].choices, 'text')} of {texts}"
    own, found_at = found[0].own, list[str]()
    table = [f"{'entropy at scale':34}" + "".join(f"{scale:>9.4g}" for scale in found[0].share) + "   half at"]
    for one in found:
        shares = "".join(f"{_percent(value):>9}" for value in one.share.values())
        label = f"{one.compared} ({one.choices:,})"
        table.append(f"{label:34}{shares}{one.half_at:>10.4g}   {one.terms}")
        if own is not None and (word := _word(one.share[own])):
            found_at.append(f"{word} for {one.compared}")
    if own is not None:
        lines.append(
            f"the teacher's own scale is {own:.4g}" + (f": {', '.join(found_at)}" if found_at else ", which suits")
        )
    return [
        *lines,
        "",
        *table,
        "",
        f"Below {ONE_HOT:.0%} targets are nearly one-hot, above {UNIFORM:.0%} nearly uniform. Set logit_scale between,",
        "as to half the entropy; a term's temperature divides it, so with temperature = 3 set three times that.",
    ]


@cpu.settled()
def entropies(
    images: str | Path,
    texts: str | Path | None = None,
    *,
    batch: int = 128,
    text_batch: int = 2048,
    teacher: str | None = None,
) -> list[Entropy]:
    """What `suggest_scale` tells, as values: that of images among images is the last."""
    refuse_less(2, batch=batch, text_batch=text_batch)
    store = FeatureStore(images, teacher)
    if "image" not in store.own_fields:
        raise StoreError(f"{store.path}: holds no image features; name the store of images, and texts with --texts")
    x, own = _some(store, "image", batch), _own_scale(store)
    scales = sorted({*SCALES, *([own] if own is not None else [])})
    return [
        Entropy(
            compared=" and ".join(pair),
            terms=_TERMS[pair],
            choices=found.shape[1],
            share={scale: share(scale * found) for scale in scales},
            half_at=scale_for(found),
            own=own,
        )
        for pair, found in _pairs(store, x, texts, batch, text_batch)
    ]


def _pairs(
    store: FeatureStore, x: Tensor, texts: str | Path | None, batch: int, text_batch: int
) -> Iterator[tuple[tuple[str, str], Float[Tensor, "n m"]]]:
    if texts is not None:
        other = FeatureStore(texts)
        if store.alias in other.said_by:  # of several teachers the same one
            other = FeatureStore(texts, store.alias)
        if "text" not in other.own_fields:
            raise StoreError(f"{other.path}: holds no text features; name a store of texts with --texts")
        refuse_other_teacher(store, "image", other, "text")
        yield ("image", "unpaired text"), cosines(x, _some(other, "text", text_batch))
    if "text" in store.own_fields:
        yield ("image", "own text"), cosines(x, _some(store, "text", batch))
    yield ("image", "image"), cosines(x, x)


def _some(store: FeatureStore, field: str, count: int) -> Float[Tensor, "n d"]:
    """Features of at most so many rows, always the same ones."""
    rows = store.ok_rows
    if len(rows) < 2:
        raise StoreError(f"{store.path}: {counted(len(rows), 'row')} with features are too few to choose among")
    chosen = np.sort(np.random.default_rng(0).choice(rows, min(count, len(rows)), replace=False))
    view = 0 if store.field(field).per_view else None
    return store.read(field, chosen, view=view)


def _own_scale(store: FeatureStore) -> float | None:
    scale = store.teacher("image").get("logit_scale")
    return None if scale is None else float(scale)


def _word(value: float) -> str:
    return "nearly one-hot" if value < ONE_HOT else "nearly uniform" if value > UNIFORM else ""


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"
