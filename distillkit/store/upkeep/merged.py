"""What a merge has to tell: keys that several stores have, for one image or for two, and what was added to a store."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from jaxtyping import Bool, Int64
from torch import Tensor

from distillkit.store.format.field import PARAMETERS
from distillkit.store.format.maker import how_again
from distillkit.store.reading.lookup import find
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count

_SAME = 0.999  # cosine: of one image by another machine, or in int8, more is left; of two images less
_BLOCK = 4096
_NAMED = 3

Rows = tuple[int, Int64[np.ndarray, "n"]]  # number of the store, row in it


def repeated(
    stores: list[FeatureStore], shown: list[Int64[np.ndarray, "_"] | None], kept: np.ndarray, fields: Collection[str]
) -> str:
    """That some keys are in more than one store; where their features differ, the first of these, and what helps.

    `shown`: the rows of each store that are merged, None for all; `kept`: places, counted through all of them, whose
    rows stay; `fields`: by their full names, those that are merged, which all stores have.
    """
    name = _field(fields)
    rows = [np.arange(len(store)) if some is None else some for store, some in zip(stores, shown, strict=True)]
    keys = pa.concat_arrays(
        [store.index["key"].take(pa.array(some)).combine_chunks() for store, some in zip(stores, rows, strict=True)]
    )
    whose = np.repeat(np.arange(len(stores)), [len(some) for some in rows])
    row = np.concatenate(rows)
    lost = np.setdiff1d(np.arange(len(keys)), kept)
    stays = kept[find(keys.take(pa.array(lost)), pa.chunked_array([keys.take(pa.array(kept))]))]
    differ = lost[_differ(stores, name, whose[stays], row[stays], whose[lost], row[lost])]
    ok = np.concatenate([np.isin(some, store.ok_rows) for store, some in zip(stores, rows, strict=True)])
    verb = "is" if len(lost) == 1 else "are"
    told = f"{count(len(lost), 'key')} {verb} in more than one store, such as {_such(keys, lost)}"
    if len(missed := lost[ok[lost] & ~ok[stays]]):
        told += (
            f" ({count(len(missed), 'row')} with features will be missing, such as {_such(keys, missed)}, as the first "
            "row failed: name the store that has it first, or mend the other: extract-teacher RECIPE --retry-failed)"
        )
    if not len(differ):
        return f"{told}; the first row of each stays"
    what = "images" if name is None or name.partition("/")[2] != "text" else "texts"
    others = "all of them" if len(differ) == len(lost) else f"{len(differ):,} of them, such as {_such(keys, differ)},"
    return (
        f"{told}; the first row of each stays, though {others} are other {what} under one name: their features differ"
        "; to have both, extract with keys that differ: with a source.root above both folders, whose names then begin "
        "the keys, or with source.key_column or key_field"
    )


def added(store: FeatureStore, out: Path, merged: bool) -> str:
    """That it stays with the store, and how to add it to `out`, whose source is `merged` or that of all its parts."""
    source = 'the source "merged"' if merged else f"the source of {store.path}"
    ways = []
    for name, volume in store.added.items():
        command = how_again(volume.path)
        mined = command.startswith("distillkit mine-neighbours")
        corpus = f'out = "{out.parent}", a corpus "{out.name}" and {source}, as in docs/feature-store.md'
        ways.append(f"{name} by {command}, where the recipe names {out if mined else corpus}")
    return f"{store.path}: what was added to it stays there; add it to {out} anew: {'; '.join(ways)}"


def _such(keys: pa.Array, places: Int64[np.ndarray, "n"]) -> str:
    return ", ".join(keys.take(pa.array(places[:_NAMED])).to_pylist())


def _field(fields: Collection[str]) -> str | None:
    """What tells images, or where there are none texts, apart."""
    order = {"image": 0, "cls": 1, "text": 3}
    return min(
        (one for one in fields if one != PARAMETERS),
        key=lambda full: order.get(full.partition("/")[2], 2),
        default=None,
    )


def _differ(
    stores: list[FeatureStore],
    name: str | None,
    first: Int64[np.ndarray, "n"],
    first_row: Int64[np.ndarray, "n"],
    other: Int64[np.ndarray, "n"],
    other_row: Int64[np.ndarray, "n"],
) -> Bool[np.ndarray, "n"]:
    """Of pairs of rows, each of a store, whether both have features and these are not those of one image."""
    found = np.zeros(len(first), bool)
    for pair in np.unique(np.stack([first, other], 1), axis=0).tolist() if name else ():
        usable = np.isin(first_row, stores[pair[0]].ok_rows) & np.isin(other_row, stores[pair[1]].ok_rows)
        places = np.flatnonzero((first == pair[0]) & (other == pair[1]) & usable)
        for start in range(0, len(places), _BLOCK):
            part = places[start : start + _BLOCK]
            one, two = _said(stores[pair[0]], name, first_row[part]), _said(stores[pair[1]], name, other_row[part])
            found[part] = ((one * two).sum(1) < _SAME).numpy()
    return found


def _said(store: FeatureStore, name: str | None, rows: Int64[np.ndarray, "n"]) -> Tensor:
    assert name is not None
    said = store.read(name, rows, view=0 if store.field(name).per_view else None)
    return F.normalize(said.reshape(len(rows), -1).float(), dim=1)
