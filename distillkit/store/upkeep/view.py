"""Making a view: what is asked, the rows that it means, and what was there before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.store.bucket.remote import shown
from distillkit.store.reading.images import of_images_of, share_images
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME, Selection, select
from distillkit.store.upkeep.choose import as_many, choose, lots_of
from distillkit.system.one_image import first_of_each
from distillkit.system.wording import count


@dataclass(frozen=True)
class Asked:
    """Which rows are meant: those that all of these mean, as `choose` and `as_many` have it."""

    keys: Path | None = None
    rows: str | None = None
    labels: str | None = None
    share: float | None = None
    seed: int = 0
    other_than: Path | None = None
    as_many_as: Path | None = None


def make_view(path: Path, out: Path, asked: Asked, command: str, say: Say, *, overwrite: bool) -> Selection:
    """The view at `out` of the rows of `path` that are asked for. StoreError where nothing is asked: it would be
    another name of all rows, and mostly something was forgotten.
    """
    if replace(asked, seed=0) == Asked():
        raise StoreError(
            f"{path}: say which of its rows {out} shall have: add --rows, --keys, --labels, --share, "
            f"--other-than or --as-many-as, or use {path} itself, which is all of them"
        )
    share, but = asked.share, asked.other_than
    chosen = choose(path, asked.keys, asked.rows, asked.labels, share=share, seed=asked.seed, other_than=but)
    chosen = chosen if asked.as_many_as is None else as_many(chosen, asked.as_many_as)
    # As many as others have, by whatever lot, is a number; which keys these are does not hang on theirs.
    lots = max(lots_of(path) + (share is not None), 0 if but is None else lots_of(but))
    others = [one for one in (but, asked.as_many_as) if one is not None]
    before = _outdated(out)
    view = select(path, chosen, out, command, overwrite=overwrite, lots=lots, others=others)
    if told := _cut(path, chosen):
        say(f"{out}: {told}")
    if before is not None:
        say(
            f"{out}: replaced the view that was here, which could not be used any more, as {shown(view.store)} has "
            f"changed: {count(before, 'row')} then, {view.count:,} now"
        )
    return view


def _cut(path: Path, chosen: np.ndarray) -> str:
    """That the view goes through images, some of their rows inside and some outside; empty where it does not."""
    store = FeatureStore(path)
    rest = np.setdiff1d(store.ok_rows, chosen)
    split = chosen[of_images_of(store, chosen, rest)] if share_images(store) else chosen[:0]
    if not len(split):
        return ""
    images = count(len(first_of_each(store, split)), "image")
    told = f"has some rows of {images}, and leaves out others of the same"
    return f"{told}; to part whole images, choose by --share, or take the rest by --other-than"


def _outdated(out: Path) -> int | None:
    """Of how many rows a view is at `out` whose store is another by now; None where there is none."""
    if not (out / FILE_NAME).is_file():
        return None
    try:
        view = Selection(out)
    except StoreError:
        return None
    return view.count if view.refused() else None
