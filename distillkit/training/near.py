"""Whether the images of a training have the mined neighbours that it is to draw their texts from."""

from __future__ import annotations

import numpy as np

from distillkit.errors import StoreError
from distillkit.recipe import Data
from distillkit.store.reading.neighbours import Neighbours
from distillkit.system.wording import count
from distillkit.training.images import Images


def near_of(data: Data, images: Images, near: Neighbours) -> list[str]:
    """What to tell of images that draw no text of their own. StoreError where that is all of them, where some were
    never asked for, and where each is to be described by its nearest.

    Without neighbours a batch would be filled with any texts, and nobody would hear of it.
    """
    total, silent = len(images.order), near.silent(images.among)
    near.refuse_unasked(silent, total)
    lacking = silent
    if near.may_lack:  # all of them are read, so only where it can be
        lacking = near.alone(images.store.ok_rows if images.among is None else images.among)
    if not len(lacking):
        return []
    texts, number = near.texts.path, f"{len(lacking):,} of {count(total, 'image')} of {images.store.path}"
    if data.sampling == "neighbours" or len(lacking) == total:
        key = images.store.values("key", np.asarray(lacking[:1]))[0]
        what = "leave images without a direction out with a view" if len(silent) == len(lacking) else "select more"
        raise StoreError(f"{texts}: no text of it is a neighbour of {number} (first: {key!r}); mine more, or {what}")
    return [f"{texts}: no text of it is a neighbour of {number}; these draw none, and the others more"]
