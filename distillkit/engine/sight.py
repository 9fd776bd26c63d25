"""From a row of the plan to the pixels that each teacher looks at: read once, decoded once, seen in every view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from distillkit import views
from distillkit.errors import SourceError
from distillkit.pixels import decode
from distillkit.recipe import Component, Views


class Seen(NamedTuple):
    """One image: for each teacher uint8 [views, 3, h, w], and the parameters of its views, float32 [views, columns]."""

    pixels: tuple[Tensor, ...]
    parameters: np.ndarray | None


@dataclass(frozen=True)
class Sight:
    """What a decoding worker carries: the corpus and the teachers' ways of looking, none of their networks."""

    corpus: Component
    preprocess: Mapping[str, Any]
    views: Views | None = None

    @cached_property
    def source(self) -> Any:
        return self.corpus.build("sources")

    def __call__(self, key: str, location: str | None) -> Seen:
        """SourceError for an image that is absent or damaged."""
        if location is None:
            raise SourceError("the sample has no image, or one whose file name is not UTF-8")
        image = decode(self.source.read(location))
        looks = self.preprocess.values()
        if self.views is None:
            return Seen(tuple(look(image)[None] for look in looks), None)
        clean = next(iter(looks)).clean_view(*image.size)
        planned = views.planned(self.views, key, *image.size, clean)
        own = [None, *planned[1:]] if self.views.clean_first else list(planned)
        return Seen(
            tuple(torch.stack([look(image, view) for view in own]) for look in looks),
            views.packed(planned, self.views),
        )
