"""Whether the images that a recipe to come measures on are ones that it trains on."""

from __future__ import annotations

import os

import numpy as np

from distillkit.errors import RecipeError
from distillkit.evaluation.unseen import hold_out, images_among, such_as
from distillkit.store.reading.images import same_files
from distillkit.store.reading.lookup import find
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.one_image import first_of_each
from distillkit.system.paths import expand
from distillkit.system.wording import count


def told_of_seen(images: str, measured: str) -> str:
    """How many of the measured images are trained on, as their keys and files tell; nothing where none is. RecipeError
    where it is one store, or one view.
    """
    asked, trained = FeatureStore(expand(measured)), FeatureStore(expand(images))
    cure = "hold some out with: distillkit store view STORE VIEW --share 0.2"
    if os.path.realpath(asked.path) == os.path.realpath(trained.path) or asked.digest == trained.digest:
        raise RecipeError(
            f"{measured}: --measure must name images that are not trained on, and these are those of --images; {cure}"
        )
    rows = find(asked.index["key"].take(asked.ok_rows).combine_chunks(), trained.index["key"])
    keys = np.isin(rows, trained.ok_rows)
    known = keys | same_files(asked, trained, trained.ok_rows)
    if not known.any():
        return ""
    every, what = (
        len(first_of_each(asked, asked.ok_rows)),
        "have keys" if keys[known].all() else "are images, or have keys,",
    )
    told = f"{images_among(asked, known):,} of {count(every, 'image')} {what} that {images} trains on, too"
    told += such_as(asked, known)
    return f"{measured}: {told}; {hold_out(asked, trained, known)}"
