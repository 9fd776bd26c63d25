"""A corpus, planned and looked at before any teacher is loaded: what is wrong with all of it is told here, in one line.

Single bad rows are none of this: they go to the failure ledger when their turn comes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distillkit.callable import Say
from distillkit.engine.append import growth
from distillkit.engine.classes import Classes
from distillkit.engine.estimate import existing
from distillkit.engine.narrowed import Narrowed
from distillkit.engine.other_rows import lost_rows
from distillkit.errors import RecipeError, SourceError, StoreError
from distillkit.pixels import decode
from distillkit.pixels.pillow import MAX_PIXELS
from distillkit.recipe import Corpus
from distillkit.store.format.maker import caller
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.format.plan import OTHERS, knobs_of, make_plan
from distillkit.store.format.sameness import as_spelled, begun_with
from distillkit.system.progress import Counted
from distillkit.system.wording import count

_LOOKED_AT = 32  # rows from all over the plan, until one of them has an image
_PATIENCE = 20.0  # seconds after which a slow corpus is given the benefit of the doubt


@dataclass(frozen=True)
class Planned:
    """The rows of a corpus in order; `duplicates`: samples left out, and how many of them are `untold`, for `told` is
    what the source took, passed over and left out; `losses`: key, stage and error of what was left out of rows that
    are kept; `classes`: the number of each, where the source numbers them by name."""

    rows: pa.Table
    duplicates: int
    untold: int
    told: str | None
    losses: list[dict[str, str]]
    classes: dict[str, int] = field(default_factory=dict)
    root: str | None = None  # below which its images lie

    @property
    def log(self) -> dict[str, str]:
        """What the log of a store keeps of it."""
        told = "; ".join(filter(None, [self.told, self.repeated]))
        return {"planned": told} if told else {}

    @property
    def repeated(self) -> str:
        """How many samples were left out for their key, of which nothing else tells; empty for none."""
        return f"left out {count(self.untold, 'sample')} whose key had come before" if self.untold else ""


def planned(corpus: Corpus, store: Path, say: Say, allow_smaller: bool = False) -> Planned:
    """The plan of a corpus whose store is at `store`; nothing is written there.

    SourceError where no row has what is asked for. StoreError where a finished store would make way for others that
    lack rows of it, of the same source, unless that is allowed.
    """
    source = corpus.source.build("sources")

    def lose(*loss: str) -> None:
        source.account.lose(*loss)  # looked up late: each pass over the samples begins another account

    samples = Narrowed(source, corpus) if corpus.narrowed else source
    planning = Counted(samples, f"{store}: planning, samples", say)
    classes = Classes(store, source, _before(store), corpus)
    rows, duplicates = make_plan(
        planning,
        source.root,
        existing(store.parent),
        lose if hasattr(source, "account") else None,
        classes.number,
        classes.more,
    )
    rows = classes.settled(rows)
    if classes.told:
        say(f"{store}: {classes.told}")
    account = getattr(source, "account", None)
    told = None if account is None else account.line(rows.num_rows)
    if isinstance(samples, Narrowed):
        told = "; ".join(filter(None, [told or f"{count(rows.num_rows, 'sample')} taken", samples.told]))
    silent = rows["text"].null_count if "text" in _asked(corpus) else 0
    if told and 0 < silent < rows.num_rows:
        told += f"; {silent:,} without a text"
    if told:
        say(f"{store}: {told}")
    grown, before = growth(store, rows), _before(store)
    if (
        grown is None
        or grown.new
        or not before
        or {_last(name) for name in before["fields"]} - {"parameters"} != _asked(corpus)
    ):
        _refuse_wrong_as_a_whole(corpus, source, rows)
    if grown is None and before and (store / FILE_NAME).is_file() and not allow_smaller:
        _refuse_lost(store, corpus, rows, before)
    root = None if source.root is None else str(source.root)
    untold = duplicates - (0 if account is None else account.lost[OTHERS])
    return Planned(rows, duplicates, untold, told, [] if account is None else account.losses, classes.table, root)


def _before(store: Path) -> dict[str, Any] | None:
    """What the store there was begun with; None where there is none, or a damaged one, which its writer tells."""
    try:
        return begun_with(store)
    except (FileNotFoundError, StoreError):
        return None


def _asked(corpus: Corpus) -> set[str]:
    return {_last(field) for field in corpus.fields}


def _last(field: str) -> str:
    return field.rpartition("/")[2]


def _refuse_wrong_as_a_whole(corpus: Corpus, source: Any, rows: pa.Table) -> None:
    asked = {"text" if field == "text" else "image" for field in _asked(corpus)}
    if "image" in asked:
        _refuse_no_image(corpus, source, rows)
    knobs = corpus.source.knobs
    asked |= {"label"} if corpus.class_names or any(one.startswith("label") for one in knobs) else set()
    if knobs.get("classes") is True and rows["label"].null_count == rows.num_rows:
        raise SourceError(
            f"corpus {corpus.name!r}: no image lies in a folder below {source.root}, so none has a class; set "
            "source.root to the folder of the class folders, or leave out source.classes"
        )
    for column in sorted(asked - {"image"}):
        if rows[column].null_count == rows.num_rows:
            raise SourceError(
                f"corpus {corpus.name!r}: none of its {count(rows.num_rows, 'row')} has a {column}{_found(source)}; "
                f"{_cure(source, column)}"
            )


def _refuse_no_image(corpus: Corpus, source: Any, rows: pa.Table) -> None:
    places = np.unique(np.linspace(0, rows.num_rows - 1, _LOOKED_AT).astype(int))
    reasons, until = [], time.monotonic() + _PATIENCE
    for row in rows.take(pa.array(places)).to_pylist():
        reason = _trouble(source, row["image"], corpus.max_pixels)
        if reason is None or time.monotonic() > until:
            return
        reasons.append(reason if reason.startswith(f"{row['key']}: ") else f"{row['key']}: {reason}")
    raise SourceError(
        f"corpus {corpus.name!r}: not one of {count(len(reasons), 'row')} from all over it has an image that can be "
        f"read ({reasons[0]:.300}){_found(source)}; {_cure(source, 'image')}"
    )


def _trouble(source: Any, location: str | None, max_pixels: int | None) -> str | None:
    """Why an image cannot be read, if it cannot."""
    if location is None:
        return "the row names no image"
    if not hasattr(source, "read"):
        raise RecipeError(
            f"sources: {type(source).__name__} has no read(location), by which an image is read; add it to the class"
        )
    try:
        image = source.read(location)
        if not isinstance(image, bytes | Path | str) and not hasattr(image, "read"):
            its = f"{type(source).__name__}.read"
            raise RecipeError(
                f"sources: {its} gives {type(image).__name__} for {location!r}; let it give bytes or a Path"
            )
        decode(image, max_pixels=max_pixels or MAX_PIXELS)
    except SourceError as error:
        return str(error)
    return None


def _found(source: Any) -> str:
    """What a source saw in the place of what was looked for."""
    found = getattr(getattr(source, "account", None), "found", "")
    return f", {found}" if found else ""


def _cure(source: Any, column: str) -> str:
    """The knobs by which a source is told where its images, texts or labels are."""
    knobs = knobs_of(source, column) + (knobs_of(source, "root") if column == "image" else [])
    if column == "text" and isinstance(getattr(source, "captions", None), int):
        knobs = ["source.captions", *knobs]
    if not knobs:
        return f"this kind of source gives no {column}s, or none here; choose other fields, or another source"
    elsewhere = getattr(source, "images_elsewhere", "") if column == "image" else ""
    return caller().mend.format(" or ".join(knobs)) + elsewhere


def _refuse_lost(store: Path, corpus: Corpus, rows: pa.Table, before: dict[str, Any]) -> None:
    """A mount of which half is there must not set a finished store aside, whatever else is there by now."""
    was = before["source"]
    knobs = as_spelled(was["knobs"], corpus.source.knobs)
    if (was["kind"], was["knobs"], was.get("narrowed", {})) != (corpus.source.kind, knobs, corpus.narrowed):
        return
    lost = lost_rows(store, rows)
    if lost is not None:
        raise StoreError(
            f"{store}: {lost}; the finished store stays as it is: bring them back, or set it aside with "
            f"{caller().smaller}"
        )
