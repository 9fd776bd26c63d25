"""The rows of an evaluation as the report needs them: some images with what was answered, and one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.evals._answers import Answers
from distillkit.evals._labels import UNSHOWN
from distillkit.evaluation.chance import p_by_chance
from distillkit.evaluation.rows import Rows, read_rows
from distillkit.report.named import OF_TEXTS, called_answers
from distillkit.report.results import Table
from distillkit.report.words import listing
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand
from distillkit.system.wording import count

SHOWN = 24
_FIRST = 3  # classes of many


@dataclass(frozen=True)
class Listed:
    """Some of the measured images: where each is, its own text, and by network the texts it found, best first, with
    the place of a right one among them (from 1), None where there is none. `right`: how often there is one, of all.
    `what`: "text", or "class" where an image is asked for its class. `voted`: those are classes with votes alone.
    """

    images: list[dict[str, Any]]
    count: int
    right: dict[str, float]
    what: str
    voted: bool


def rows_of(run: Path, evaluation: Mapping[str, Any], name: str) -> Rows | None:
    """What an eval kept, None where it kept no rows, or an older version has kept another's in that file since."""
    place = evaluation.get("evals", {}).get(name, {}).get("rows")
    rows = read_rows(run / place) if place else None
    return rows if rows is not None and rows.name == name else None


def by_chance(rows: Rows | None, measure: str) -> dict[str, float]:
    """How often answers without looking reach as much in a measure, by network; of those where that can be asked."""
    every = rows.answers.items() if rows else ()
    asked = [(who, p_by_chance(one, each)) for who, one in every for each in one.measures if each.name == measure]
    return {who: p for who, p in asked if p is not None}


def listed(rows: Rows | None, evaluation: Mapping[str, Any], shown: int = SHOWN) -> Listed | None:
    """`shown` of the images at even distances, the first among them: nobody chooses. None where there are no texts."""
    if rows is None or any(
        one.best is None or one.names is None or one.target is None for one in rows.answers.values()
    ):
        return None
    name = rows.asked["eval"].get("store")
    if name is None:
        return None
    store = FeatureStore(expand(name))
    first = next(iter(rows.answers.values()))
    count = len(first.key)
    places = [place * count // shown for place in range(shown)] if count > shown else list(range(count))
    root = evaluation.get("roots", {}).get(name)
    found = store.rows_of([first.key[place] for place in places])
    files = store.values("image", found)
    assert first.names is not None and first.target is not None
    called = called_answers(rows.asked["eval"], first.names)
    images = [
        _place(store, int(row), file, None if root is None else expand(root))
        | {"text": _called(first.names[first.target[place]], called), "answers": _answers(rows, place, called)}
        for place, row, file in zip(places, found, files, strict=True)
    ]
    right = {who: float(np.mean(_among(one))) for who, one in rows.answers.items()}
    what = "text" if rows.asked["eval"]["kind"] in OF_TEXTS else "class"
    voted = any((one.best < 0).any() for one in rows.answers.values() if one.best is not None)
    return Listed(images, count, right, what, voted)


def _among(one: Answers) -> np.ndarray:
    """Whether the right answer of each item is one of its best."""
    assert one.best is not None
    return np.asarray(one.columns["rank"] <= (one.best >= 0).sum(1))


def with_absent_classes(tables: Sequence[Table], run: Path, evaluation: Mapping[str, Any]) -> list[Table]:
    """The same, where captions that count classes say how many of these have no image: groups of images are fewer; and
    which have images, and no example to learn from.
    """
    return [replace(one, caption=_completed(one.caption, rows_of(run, evaluation, one.name))) for one in tables]


def _completed(caption: str, rows: Rows | None) -> str:
    first = next(iter(rows.answers.values())) if rows else None
    if rows is None or first is None or first.target is None or "classes" not in first.facts:
        return caption
    classes = count(int(first.facts["classes"]), "class", "classes")
    empty = int(first.facts["classes"]) - len(np.unique(first.target))
    if empty > 0:
        told = f"{classes}, {empty:,} of which {'has' if empty == 1 else 'have'} no image here"
        caption = caption.replace(classes, told, 1)
    if UNSHOWN in first.columns and first.names is not None:
        called = called_answers(rows.asked["eval"], first.names)
        bare = np.unique(first.target[first.columns[UNSHOWN] > 0]).tolist()
        names = [_called(first.names[one], called) for one in bare[:_FIRST]]
        names += [f"{len(bare) - _FIRST:,} more"] if len(bare) > _FIRST else []
        caption = caption.replace(UNSHOWN, f"{UNSHOWN} ({listing(names)})", 1)
    return caption


def _called(name: str, called: Mapping[str, str]) -> str:
    return called.get(name, name)


def _answers(rows: Rows, place: int, called: Mapping[str, str]) -> dict[str, tuple[list[str], int | None]]:
    told = {}
    for who, one in rows.answers.items():
        assert one.best is not None and one.names is not None
        texts, rank = (
            [_called(one.names[n], called) for n in one.best[place] if n >= 0],
            int(one.columns["rank"][place]),
        )
        told[who] = (texts, rank if rank <= len(texts) else None)
    return told


def _place(store: FeatureStore, row: int, location: str, root: str | None) -> dict[str, Any]:
    """Where the report finds an image: its file; or the row of a store, for an image that lies within another file."""
    path = Path(root or store.root or "") / location
    within = {"store": str(store.path.absolute()), "row": row, "root": root}
    return {"image": str(path)} | ({} if path.is_file() else within)
