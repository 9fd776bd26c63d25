"""The plan of a step: which rows, views, texts and patches. A pure function of recipe, stores and the step's number.

So a run resumes at any step, with any number of workers and ranks, as if it had never stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from distillkit.pixels.mixing import Mix, drawn
from distillkit.training.images import Shown
from distillkit.training.ingredients import Ingredients
from distillkit.training.order import MASKS, NEAR_TEXTS
from distillkit.training.texts import proximal


@dataclass(frozen=True)
class Plan:
    """This rank's share of a step. `images`: of each image store. `texts`: rows of each source of texts.

    `match`: which text describes which image; `mask`: the patches that are hidden; `mix`: how images are mixed.
    """

    step: int
    keys: tuple[str, ...]
    images: list[Shown]
    texts: list[np.ndarray]
    match: Int[Tensor, "b"] | None = None
    mask: Bool[Tensor, "b p"] | None = None
    mix: Mix | None = None


class Planner:
    """Plans any step, in any order."""

    def __init__(self, ingredients: Ingredients):
        self.given = ingredients
        self.data, self.seed, self.ranks = ingredients.data, ingredients.seed, ingredients.ranks

    def of(self, step: int) -> Plan:
        """This rank's share of the plan of a step."""
        if not self.given.images:
            rows = self._text_rows(step)
            return Plan(step, tuple(self.given.first.values("key", rows)), [], [rows])
        turns = [images.turn(step) for images in self.given.images]
        rows_of = [rows for _, rows in turns]
        spans = self._spans([len(rows) for rows in rows_of])
        shown = [
            images.shown(epoch, rows[span])
            for images, (epoch, rows), span in zip(self.given.images, turns, spans, strict=True)
        ]
        texts, match = self._texts(step, rows_of, spans)
        return Plan(
            step,
            keys=tuple(key for one in shown for key in one.keys),
            images=shown,
            texts=texts,
            match=match,
            mask=self._mask(step),
            mix=drawn(self.data.augment, self.seed, step, self.given.image_size) if self.given.image_size else None,
        )

    def _spans(self, sizes: list[int]) -> list[slice]:
        """This rank's part of each store's rows of a batch: of all of them in a row, an equal share."""
        whole, first, spans = self.ranks.span(sum(sizes)), 0, []
        for size in sizes:
            spans.append(slice(max(whole.start - first, 0), max(min(whole.stop - first, size), 0)))
            first += size
        return spans

    def _texts(self, step: int, rows: list[np.ndarray], spans: list[slice]) -> tuple[list[np.ndarray], Tensor | None]:
        """Rows of the texts of a step, and which of them describes which of this rank's images.

        Texts that several images share (classes, merged captions, neighbours) are the whole batch's on every rank, and
        those of the first source.
        """
        sources = self.given.text_sources
        if not sources:
            return [], None
        if sources[0].shared:
            asked = [source.rows(part) for source, part in zip(sources, rows, strict=True)]
            matches = [match[span] for (_, match), span in zip(asked, spans, strict=True) if match is not None]
            return [asked[0][0]], torch.cat(matches) if matches else None
        if self.given.texts:
            return [self._text_rows(step, rows[0])], None
        found = [source.rows(part[span]) for source, part, span in zip(sources, rows, spans, strict=True)]
        before = np.cumsum([0, *(len(part) for part, _ in found)])
        matches = [match + int(first) for (_, match), first in zip(found, before, strict=False) if match is not None]
        return [part for part, _ in found], torch.cat(matches)

    def _text_rows(self, step: int, images: np.ndarray | None = None) -> np.ndarray:
        """Rows of the unpaired texts: this rank's part of a pass that goes round by itself, or of what is near."""
        order, size = self.given.text_order, self.given.text_batch_size
        assert order is not None
        epoch, place = divmod(step, len(order) // size)
        rows = order.rows(epoch, place * size, (place + 1) * size)
        if self.given.near and images is not None:
            random = np.random.Generator(np.random.PCG64([self.seed, NEAR_TEXTS, step]))
            rows = proximal(self.given.near.ids(images), rows, random)
        return rows[self.ranks.span(len(rows))]

    def _mask(self, step: int) -> Tensor | None:
        """Proteus: of the first `share` of a batch, `ratio` of the patches of each image, drawn evenly."""
        mask, images, patches = self.data.mask, self.data.batch_size, self.given.patches
        if mask is None:
            return None
        random = np.random.Generator(np.random.PCG64([self.seed, MASKS, step]))
        noise = torch.from_numpy(random.random((images, patches)))
        hidden = noise.argsort(1).argsort(1) < int(patches * mask.ratio)
        return (hidden & (torch.arange(images) < int(images * mask.share))[:, None])[self.ranks.span(images)]
