"""Pages to look at with one's own eyes: what was mined for some rows, and which texts a selection kept or dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.report import render
from distillkit.report.grid import uri
from distillkit.store.reading.images import one_row_each
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import atomic_file
from distillkit.system.evenly import evenly
from distillkit.system.wording import count as counted

_EACH = 8
_WIDTH, _HEIGHT, _EDGE, _FLOOR = 640, 150, 4, 24


@dataclass(frozen=True)
class Near:
    """A row, its picture if it has one, and the texts near to it with their cosines."""

    text: str
    uri: str | None
    near: list[tuple[str, float]]


def write_neighbours(path: Path, neighbours: Neighbours, texts: FeatureStore, shown: int = 50) -> Path:
    """`shown` rows at even distances, nobody chooses, each with the nearest texts. Returns the page."""
    store = neighbours.store
    rows = evenly(one_row_each(store, store.ok_rows), shown)
    ids, scores = neighbours.ids(rows)[:, :_EACH], neighbours.scores(rows)[:, :_EACH]
    shown_rows = []
    for row, some, cosines in zip(rows.tolist(), ids, scores, strict=True):
        found = some >= 0
        said = texts.values("text", some[found]) if found.any() else []
        shown_rows.append(_near(store, row, list(zip(said, cosines[found].tolist(), strict=True))))
    values = {"facts": neighbours.facts, "store": store.path, "texts": texts.path, "rows": shown_rows}
    return _written(path, "neighbours.html", values)


def write_selection(path: Path, facts: dict[str, Any], kept: list[Near], dropped: list[Near]) -> Path:
    """The histogram and examples of either kind. Returns the page."""
    histogram = facts["histogram"]
    values = facts | {"kept_examples": kept, "dropped_examples": dropped, "picture": bars(**histogram)}
    return _written(path, "selection.html", values)


def example(images: FeatureStore, texts: FeatureStore, text: int, image: int, cosine: float) -> Near:
    """A text with the image that is nearest to it."""
    near = _near(images, image, [])
    return Near(texts.values("text", np.array([text]))[0] or "", near.uri, [(near.text, cosine)])


def bars(edges: list[float], counts: list[int], min_cosine: float) -> str:
    """An SVG histogram over cosines; what lies below `min_cosine` is pale."""
    low, high, most = edges[0], edges[-1], max(*counts, 1)

    def across(cosine: float) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (cosine - low) / max(high - low, 1e-9)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FLOOR}" role="img" aria-label="texts by their best cosine">']
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        tall, kind = (_HEIGHT - _EDGE) * count / most, "kept" if left >= min_cosine else "dropped"
        wide = max(across(right) - across(left) - 1, 0.5)
        parts.append(
            f'<rect class="{kind}" x="{across(left):.1f}" y="{_HEIGHT - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}"><title>{left:.3f} to {right:.3f}: {counted(count, "text")}</title></rect>'
        )
    for place in range(6):
        cosine = low + (high - low) * place / 5
        anchor = "start" if place == 0 else "end" if place == 5 else "middle"
        parts.append(f'<text x="{across(cosine):.1f}" y="{_HEIGHT + 17}" text-anchor="{anchor}">{cosine:.2f}</text>')
    return "".join([*parts, "</svg>"])


def _near(store: FeatureStore, row: int, near: list[tuple[str, float]]) -> Near:
    place = np.array([row])
    key, image, text = (store.values(column, place)[0] for column in ("key", "image", "text"))
    picture = uri({"store": store.path, "row": row, "image": image}) if image else None
    return Near(text or key, picture, near)


def _written(path: Path, template: str, values: dict[str, Any]) -> Path:
    with atomic_file(path) as file:
        file.write(render(template, values).encode())
    return path
