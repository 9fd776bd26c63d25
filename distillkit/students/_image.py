"""What students with an image tower share: normalised pixels, one embedding, and the second forwards of a ViT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.students._look import Look, dropped, hidden, places
from distillkit.students._pixels import Normalise
from distillkit.types import Batch, Features


class ImageStudent(nn.Module, ABC):
    """`tokens`: true: give the fields cls and patches as well, and masked patches where the batch has a mask.

    `drop_patches`: the share of patches that a second forward pass leaves out, to give masked_image, which the loss
    feature_regression can use; 0: no second pass.

    A kind of student says how its tower looks, and calls `_prepare` when it stands.
    """

    widths: dict[str, int]
    image_size: int

    def _prepare(
        self,
        tower: nn.Module,
        name: object,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        tokens: bool,
        drop_patches: float,
    ) -> None:
        self.normalise = Normalise(mean, std)
        self.tokens, self.drop_patches = tokens, drop_patches
        self._vit = places(tower, name) if tokens or drop_patches else None
        if self._vit is not None and tokens:
            self.mask_token = nn.Parameter(torch.zeros(self._vit.width))
            self.widths |= dict.fromkeys(("cls", "patches", "masked"), self._vit.width)
        if self._vit is not None and drop_patches:
            if not isinstance(self._vit.drop, nn.Identity):
                raise RecipeError(f"student: {name} has its own way to drop patches, or none; leave out drop_patches")
            self.widths |= {"masked_image": self.widths["image"]}

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches, where the student gives any; a batch's mask has as many entries."""
        return self._vit.grid if self._vit else None

    @property
    def patches(self) -> int:
        """How many patch tokens an image has, 0 where the student gives none."""
        return self.grid[0] * self.grid[1] if self.grid else 0

    @abstractmethod
    def _look(self, x: Float[Tensor, "b 3 h w"]) -> Look:
        """One forward of the tower over normalised pixels."""

    def _features(self, seen: Look) -> Features:
        return Features(image=seen.image, **({"cls": seen.cls, "patches": seen.patches} if self.tokens else {}))

    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self._look(self.normalise(pixels)).image

    def embed_tokens(self, pixels: UInt8[Tensor, "b 3 h w"]) -> tuple[Tensor | None, Tensor | None]:
        """What is pooled [b, e] and the patches [b, p, e], row by row; None for what the tower does not have."""
        seen = self._look(self.normalise(pixels))
        return seen.cls, seen.patches

    def forward(self, batch: Batch) -> Features:
        x = self.normalise(batch.pixels)
        features = self._features(self._look(x))
        if self._vit is not None and self.tokens and batch.mask is not None:
            with hidden(self._vit, batch.mask, self.mask_token):
                features = replace(features, masked=self._look(x).patches)
        if self._vit is not None and self.drop_patches:
            with dropped(self._vit, self.drop_patches):
                features = replace(features, masked_image=self._look(x).image)
        return features
