"""What the rows of a store look like: norms, rows that are nearly the same, the texts nearest to some images.

Of large stores rows at even distances are looked at, so that every store is a matter of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillkit.errors import StoreError
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.images import one_row_each
from distillkit.store.reading.reader import FeatureStore, store_or_none
from distillkit.system.evenly import evenly

NORMS = 20_000
PAIRS = 8_000
TEXTS = 100_000
ALIKE = 0.98
_BINS = 48
_BLOCK = 1024


@dataclass(frozen=True)
class Norms:
    """Of the vectors of one field: ends and middle, and a histogram."""

    low: float
    middle: float
    high: float
    counts: list[int]
    looked: int


@dataclass(frozen=True)
class Alike:
    """Pairs of rows whose vectors have a cosine of ALIKE or more, the nearest first; `rows` have such a partner."""

    pairs: list[tuple[int, int, float]]
    rows: int
    looked: int


def vectors(store: FeatureStore, name: str, rows: np.ndarray) -> Float[Tensor, "n d"]:
    """What the field says of rows, in float32: of several views the clean one."""
    said = store.read(name, rows, view=0 if store.field(name).per_view else None)
    return said.reshape(len(rows), -1).float()


def norms(store: FeatureStore, name: str) -> Norms | None:
    """None where no row has the field."""
    rows = evenly(store.rows_with(name), NORMS)
    if not len(rows):
        return None
    found = torch.cat([vectors(store, name, part).norm(dim=1) for part in np.array_split(rows, len(rows) // 4096 + 1)])
    low, high = float(found.min()), float(found.max())
    counts = np.histogram(found.numpy(), _BINS, range=(low, high if high > low else low + 1))[0]
    return Norms(low, float(found.median()), high, counts.tolist(), len(rows))


def alike(store: FeatureStore, name: str, shown: int) -> Alike:
    """Of each row its nearest other one; rows of one image, or with equal texts, are no discovery and are not told."""
    rows = store.rows_with(name)
    rows = evenly(one_row_each(store, rows) if name.endswith("image") else rows, PAIRS)
    x = F.normalize(vectors(store, name, rows), dim=1)
    columns = [store.values(column, rows) for column in ("image", "text")]
    same = columns[0] if name.endswith("image") else columns[1]
    known = {value: number for number, value in enumerate(dict.fromkeys(same))}
    group = torch.tensor([known[value] if value is not None else -1 - number for number, value in enumerate(same)])
    cosines, places = [], []
    for first in range(0, len(rows), _BLOCK):
        scores = x[first : first + _BLOCK] @ x.T
        scores[group[first : first + _BLOCK, None] == group] = -2
        best = scores.max(1)
        cosines.append(best.values)
        places.append(best.indices)
    cosine, place = torch.cat(cosines), torch.cat(places)
    near = torch.nonzero(cosine >= ALIKE).ravel()
    pairs = {tuple(sorted((int(n), int(place[n])))): min(float(cosine[n]), 1.0) for n in near.tolist()}
    nearest = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:shown]
    return Alike([(int(rows[a]), int(rows[b]), value) for (a, b), value in nearest], len(near), len(rows))


def texts_for(store: FeatureStore, named: str | Path | None) -> FeatureStore | None:
    """The store of texts that its images are shown with: the named one; else one beside it, by the same teacher."""
    if named is not None:
        texts = FeatureStore(named)
        told = other_teacher(store.teacher("image"), texts.teacher("text"))
        if told:
            raise StoreError(f"{named}: made by another teacher than {store.path} ({told}); name texts of that teacher")
        return texts
    places = [one for one in sorted(store.path.absolute().parent.iterdir()) if (one / FILE_NAME).is_file()]
    beside = [found for one in places if (found := store_or_none(one)) and "text" in found.own_fields]
    # One of texts alone was made to be read; captions of other images, of an evaluation perhaps, come last.
    beside.sort(key=lambda one: (one.path.name != "texts", "image" in one.own_fields))
    return next((one for one in beside if not other_teacher(store.teacher("image"), one.teacher("text"))), None)


def nearest_texts(
    store: FeatureStore, rows: np.ndarray, texts: FeatureStore, k: int = 5
) -> list[list[tuple[str, float]]]:
    """Of each row's image, the k nearest of the texts (of equal ones the first), with their cosines."""
    among = evenly(texts.rows_with("text"), TEXTS)
    first = dict(zip(reversed(texts.values("text", among)), reversed(range(len(among))), strict=True))
    among = among[np.sort([place for text, place in first.items() if text])]
    asked = F.normalize(vectors(store, "image", rows), dim=1)
    scores = torch.cat(
        [
            asked @ F.normalize(vectors(texts, "text", part), dim=1).T
            for part in np.array_split(among, len(among) // 8192 + 1)
        ],
        dim=1,
    )
    best = scores.topk(min(k, len(among)), dim=1)
    said = {int(n): "" for n in best.indices.ravel().tolist()}
    said |= dict(zip(said, texts.values("text", among[list(said)]), strict=True))
    return [
        [(said[n], value) for n, value in zip(places, values, strict=True)]
        for places, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
