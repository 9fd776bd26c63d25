"""Visually grounded texts, as DIME-FM filters its corpus: those that images look like, as a view without a copy.

    keep text j  if  j is among the k nearest of some image  and  max over such images of cos(image, j) > s

    distillkit select-texts pipelines/select/demo_quick.toml

The neighbours are mined before (mine.py), and with them duplicates are left out. k and s are the recipe's: the paper
(https://arxiv.org/abs/2303.18232) names its corpus and its size after filtering, and released no code for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.recipe import SelectRecipe, differences, load
from distillkit.report.near import Near, example, write_selection
from distillkit.store.format.log import mined_of
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import Selection, select_here, writing_view
from distillkit.system.atomic import parsed_json, write_json
from distillkit.system.evenly import evenly
from distillkit.system.paths import expand
from distillkit.system.wording import count

_BLOCK = 16_384  # rows whose neighbours are read at once
_BARS = 60


def select_texts(
    recipe: SelectRecipe | str | Path,
    say: Say = silent,
    *,
    overrides: Sequence[str] = (),
    command: str | None = None,
    overwrite: bool = False,
) -> Path:
    """The view of the texts that are kept, with selection.json and selection.html beside its rows; returns its folder.

    `recipe` may be a file, with `overrides` such as "min_cosine=0.2". `command` is what reports tell. In memory are 8
    bytes a text. StoreError when nothing is kept, when no image has neighbours, and without `overwrite` where a view of
    other texts is at `out`.
    """
    if not isinstance(recipe, SelectRecipe):
        recipe = load(recipe, list(overrides), kind=SelectRecipe)
    images, texts = FeatureStore(expand(recipe.images)), FeatureStore(expand(recipe.texts))
    neighbours, out = Neighbours(images, recipe.neighbours, texts, recipe.k), Path(expand(recipe.out))
    _tell_unasked(images, neighbours, say)
    best, image = nearest_image(neighbours, len(texts))
    if not np.isfinite(best).any():
        raise StoreError(
            f"{texts.path}: none of its {count(len(texts.ok_rows), 'text')} is a neighbour of an image of {images.path}"
            "; raise k, or name in texts the store in which they were mined"
        )
    kept = np.flatnonzero(best > recipe.min_cosine)
    if not len(kept):
        raise StoreError(
            f"{out}: no text is above min_cosine = {recipe.min_cosine}, the best at {best.max():.4f}; lower min_cosine"
        )
    kept_examples, dropped_examples = _examples(recipe, images, texts, best, image)
    with writing_view(out):
        if not overwrite:
            _refuse_other(recipe, out, kept)
        view = select_here(texts.path, kept, out, command, overwrite=overwrite, others=[images.path, neighbours.path])
        facts = _facts(recipe, neighbours, texts, best, kept) | {"out": str(out), "digest": view.digest}
        write_json(out / "selection.json", facts)
        write_selection(out / "selection.html", facts, kept_examples, dropped_examples)
    share = f"{100 * facts['kept'] / facts['texts']:.1f}%"
    if facts["duplicates"] is not None:
        equal = f"{facts['duplicates']:,} {facts['unsearched']}, {facts['never']:,} "
    else:
        equal = f"{facts['never']:,} equal to another, not searched, or "
    say(
        f"{out}: {facts['kept']:,} of {count(facts['texts'], 'text')} kept ({share}), {equal}no image's neighbour, "
        f"{facts['too_far']:,} not near enough; look at {out / 'selection.html'}"
    )
    return out


def _tell_unasked(images: FeatureStore, neighbours: Neighbours, say: Say) -> None:
    """Say how many images have no neighbours, as mining asked about other rows of their store. StoreError for all."""
    usable, unasked = len(images.ok_rows), len(neighbours.unasked(neighbours.silent()))
    if not unasked:
        return
    name, whose = neighbours.name, mined_of(neighbours.path)
    of = f" (mined were those of {whose})" if whose else ""
    if not len(neighbours.store.ok_rows):
        raise StoreError(
            f"{images.path}: none of its {count(usable, 'image')} has {name}{of}; mine them: {neighbours.cure}"
        )
    say(
        f"{images.path}: {unasked:,} of {count(usable, 'image')} have no {name}{of} and choose no text; "
        f"{neighbours.cure}"
    )


def _refuse_other(recipe: SelectRecipe, out: Path, kept: np.ndarray) -> None:
    """StoreError where other texts were selected into `out`, with what differs."""
    try:
        before, view = parsed_json((out / "selection.json").read_bytes())["recipe"], Selection(out)
        other, same = view.refused() is None, np.array_equal(view.rows, kept)
    except (OSError, ValueError, KeyError, TypeError, StoreError):  # of another kind, or of no use
        return
    if same or not other:
        return
    meant = ("images", "neighbours", "texts", "k", "min_cosine")
    old, new = ({key: known.get(key) for key in meant} for known in (before, recipe.model_dump()))
    why = ", ".join(differences(old, new)) or "the neighbours are others now"
    raise StoreError(
        f"{out}: is a view of {count(view.count, 'text')}, now {len(kept):,} are kept ({why}); name another out, or "
        "add --overwrite"
    )


def nearest_image(neighbours: Neighbours, texts: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each text the best cosine over images that it is a neighbour of (-inf for none), and that image's row."""
    best, image = np.full(texts, -np.inf, np.float32), np.full(texts, -1, np.int32)
    rows = neighbours.store.ok_rows
    for first in range(0, len(rows), _BLOCK):
        some = rows[first : first + _BLOCK]
        ids, scores = neighbours.ids(some), neighbours.scores(some)
        there = ids >= 0
        found, cosines, owner = ids[there], scores[there], np.broadcast_to(some[:, None], ids.shape)[there]
        order = np.argsort(cosines, kind="stable")  # of several images the nearest is written last
        found, cosines, owner = found[order], cosines[order], owner[order]
        better = cosines > best[found]
        best[found[better]], image[found[better]] = cosines[better], owner[better]
    return best, image


def _facts(
    recipe: SelectRecipe, neighbours: Neighbours, texts: FeatureStore, best: np.ndarray, kept: np.ndarray
) -> dict[str, Any]:
    near = best[np.isfinite(best)]
    counts, edges = np.histogram(near, _BARS)
    # A row without a text was no candidate, and is equal to none.
    usable = len(texts.rows_with(neighbours.facts.get("corpus_field", "text")))
    # Where others were searched than these (a view's, or those of the whole store), nobody counted these's likes.
    same = neighbours.facts.get("corpus_digest", texts.digest) == texts.digest
    distinct = neighbours.facts["distinct"] if same else usable
    return {
        "recipe": recipe.model_dump(),
        "k": neighbours.k,
        "min_cosine": recipe.min_cosine,
        "images": len(neighbours.store.ok_rows),
        "texts": usable,
        "duplicates": usable - distinct if same else None,
        "unsearched": _unsearched(neighbours.facts),
        "never": distinct - len(near),
        "too_far": len(near) - len(kept),
        "kept": len(kept),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist(), "min_cosine": recipe.min_cosine},
    }


def _unsearched(mined: dict[str, Any]) -> str:
    """What mining leaves out of a corpus before it searches: it kept one number for all of it."""
    equal = mined.get("equal_texts", "once") == "once" and mined.get("corpus_field", "text").split("/")[-1] == "text"
    whys = [("equal to another", equal), ("nearly so", mined.get("near_duplicates") is not None), ("zeros", True)]
    *others, last = [why for why, holds in whys if holds]
    return f"{', '.join(others)} or {last}" if others else last


def _examples(
    recipe: SelectRecipe, images: FeatureStore, texts: FeatureStore, best: np.ndarray, image: np.ndarray
) -> tuple[list[Near], list[Near]]:
    """Texts of either kind with their nearest image: kept ones at even distances, of the dropped the best."""
    ranked = np.argsort(-best, kind="stable")
    ranked = ranked[np.isfinite(best[ranked])]
    kept, dropped = ranked[best[ranked] > recipe.min_cosine], ranked[best[ranked] <= recipe.min_cosine]

    def shown(rows: np.ndarray) -> list[Near]:
        return [example(images, texts, row, int(image[row]), float(best[row])) for row in rows.tolist()]

    return shown(evenly(kept, recipe.examples)), shown(dropped[: recipe.examples])
