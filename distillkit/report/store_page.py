"""A store as one page to look at: fields, norms, images with their nearest texts, what is double, failed or cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distillkit.report import render
from distillkit.report.costs import teacher_pass
from distillkit.report.named import called_classes
from distillkit.report.script import script
from distillkit.report.store_look import ALIKE, Norms, alike, nearest_texts, norms, texts_for
from distillkit.report.stores import store_facts
from distillkit.report.thumbnails import thumbnails
from distillkit.report.words import count
from distillkit.store.reading.images import one_row_each
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import atomic_file
from distillkit.system.evenly import evenly
from distillkit.system.wording import count as counted

SHOWN = 24
PAIRS = 12
LEDGER = 300  # lines of what failed; all of them are told by store failures
_LONGEST = 12
_WIDE, _TALL = 220, 40


def write_store(path: Path, store: FeatureStore, texts: str | Path | None = None, root: str | None = None) -> Path:
    """Write the page; returns its path. `texts`: the store whose texts images are shown with; `root`: where the images
    lie by now. StoreError where `texts` are another teacher's, MissingExtra without jinja2.
    """
    page = render("show.html", _values(store, texts, root))
    with atomic_file(path) as file:
        file.write(page.encode())
    return path


def _values(store: FeatureStore, named: str | Path | None, root: str | None) -> dict[str, Any]:
    texts = texts_for(store, named) if "image" in store.own_fields else None
    rows = evenly(one_row_each(store, store.ok_rows), SHOWN)
    kinds = [name for name in ("image", "text") if name in store.own_fields and _is_vector(store, name)]
    pairs = {name: alike(store, name, PAIRS) for name in kinds if len(store.rows_with(name)) > 1}
    in_pairs = [row for one in pairs.values() for a, b, _ in one.pairs for row in (a, b)]
    wanted = list(dict.fromkeys([*rows.tolist(), *in_pairs]))
    pictures, missing = _pictures(store, wanted, root)
    near = (
        nearest_texts(store, rows, texts) if texts is not None and len(rows) and "image" in kinds else [[]] * len(rows)
    )
    failures = store.failures()
    losses = store.losses()
    return {
        "facts": store_facts(store, teacher_pass(store)),
        "teachers": store.teachers,
        "source": store.manifest.source,
        "fields": [_field(store, name) for name in store.fields],
        "texts": None if texts is None else texts.path,
        "cards": [_card(store, row, pictures) | {"near": some} for row, some in zip(rows.tolist(), near, strict=True)],
        "missing": missing,
        "alike": [
            {
                "name": name,
                "told": f"{count(one.rows)} of {counted(one.looked, 'row')}",
                "pairs": [
                    (_card(store, a, pictures), _card(store, b, pictures), f"{cosine:.4f}")
                    for a, b, cosine in one.pairs
                ],
            }
            for name, one in pairs.items()
        ],
        "limit": ALIKE,
        "ledger": [*failures, *losses][:LEDGER],
        "failed": count(len(failures)),
        "lost": count(len(losses)),
        "more": len(failures) + len(losses) > LEDGER,
        "remarks": [
            f"{what}: {count(number)} by {alias}"
            for what, counts in store.manifest.remarks.items()
            for alias, number in counts.items()
        ],
        "longest": _longest(store),
        "script": script("tables.js"),
    }


def _is_vector(store: FeatureStore, name: str) -> bool:
    field = store.field(name)
    return len(field.shape) - field.per_view == 1


def _field(store: FeatureStore, name: str) -> dict[str, Any]:
    field = store.fields[name]
    known = norms(store, name) if name in store.feature_names and _is_vector(store, name) else None
    return {
        "name": name,
        "dtype": field.dtype + (f", {field.compression}" if field.compression else ""),
        "shape": " × ".join(map(str, field.shape)),
        "bytes": field.row_bytes,
        "norms": known,
        "picture": "" if known is None else _histogram(known),
    }


def _histogram(found: Norms) -> str:
    """A small SVG of how long the vectors are."""
    most, wide = max(*found.counts, 1), _WIDE / len(found.counts)
    bars = "".join(
        f'<rect x="{wide * n:.1f}" y="{_TALL * (1 - number / most):.1f}" width="{wide - 0.6:.1f}" '
        f'height="{_TALL * number / most:.1f}"/>'
        for n, number in enumerate(found.counts)
    )
    return f'<svg class="norms" viewBox="0 0 {_WIDE} {_TALL}" role="img" aria-label="histogram of norms">{bars}</svg>'


def _pictures(store: FeatureStore, rows: list[int], root: str | None) -> tuple[dict[str, str], list[str]]:
    """Data URIs by key, of rows that have an image."""
    files, keys = (store.values(column, np.array(rows, int)) for column in ("image", "key"))
    wanted = [key for key, file in zip(keys, files, strict=True) if file is not None]
    if not wanted:
        return {}, []
    name = str(store.path)
    made = thumbnails({name: wanted}, {} if root is None else {name: root})
    return {key: uri for (_, key), uri in made.uris().items()}, made.notes


def _card(store: FeatureStore, row: int, pictures: dict[str, str]) -> dict[str, Any]:
    key, text, label = (store.values(column, np.array([row]))[0] for column in ("key", "text", "label"))
    told = None if label is None else called_classes(store.path).get(str(label), f"label {label}")
    return {"key": key, "text": text, "label": told, "uri": pictures.get(key)}


def _longest(store: FeatureStore) -> list[tuple[str, str]]:
    """The longest texts of the rows at even distances, with how many letters they have: those that are cut first."""
    if "text" not in store.own_fields:
        return []
    rows = evenly(store.rows_with("text"), 200_000)
    said = dict.fromkeys(text for text in store.values("text", rows) if text)
    return [(count(len(text)), text) for text in sorted(said, key=len, reverse=True)[:_LONGEST]]
