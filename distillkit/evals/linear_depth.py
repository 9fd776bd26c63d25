"""Linear depth: how far each pixel is, from frozen tokens. RMSE in metres.

    depth = sum over bins of p_i d_i,  p = (relu(z) + 0.1) / sum,  z = W batchnorm([patch; cls]) + b
    loss  = sqrt(var(g) + 0.15 mean(g)^2),  g = log depth - log right;  maps are enlarged fourfold before

DINOv2's protocol with one layer ("lin. 1", https://arxiv.org/abs/2304.07193, section 7.4), bins and loss as AdaBins has
them (https://arxiv.org/abs/2011.14141). Its code adds a loss of gradients and augments images, which is left out here,
and seen is the largest centred square.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._encode import EncodeTokens, OpenStore
from distillkit.evals._maps import Maps, learned
from distillkit.evals._masks import Masks, files_of_masks
from distillkit.system.progress import hearer, paced

_LEAST = 1e-3  # metres, of the nearest bin; and what is added before a logarithm
_UNSPREAD = 100  # first steps, in which the mean alone is learned


class LinearDepth:
    """`train`: a store of images to learn from; images that are in the measured store, too, are left out. `store`: the
    store of images that are measured. `masks`: the folder of depth pictures of the measured images (_masks.py).
    `train_masks`: the folder of depth pictures of the images to learn from; that of the measured images, if not given.
    `unit`: the metres of a depth picture's number 1; a number of 0 is an unknown depth. `farthest`: in metres; a depth
    beyond this counts as unknown. `side`: at how many pixels a side depths are compared. `bins`: into how many depths
    the range is divided. `steps`: training steps of the head. `batch`: images in a step. `rate`: the learning rate of
    AdamW. `weight_decay`: of AdamW. `seed`: of the head's first weights and the order of images.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        masks: str,
        train_masks: str | None = None,
        unit: float = 0.001,
        farthest: float = 10.0,
        bins: int = 256,
        side: int = 224,
        steps: int = 38_400,
        batch: int = 16,
        rate: float = 1e-4,
        weight_decay: float = 0.01,
        seed: int = 0,
        name: str | None = None,
    ):
        self.train, self.store, self.name = train, store, name or "linear_depth"
        self.masks, self.train_masks, self.side, self.seed = masks, train_masks or masks, side, seed
        self.unit, self.farthest, self.bins = unit, farthest, bins
        self.steps, self.batch, self.rate, self.weight_decay = steps, batch, rate, weight_decay
        if min(unit, farthest) <= 0 or min(side, steps, batch) < 1 or bins < 2:
            raise RecipeError(
                "evals.linear_depth: unit and farthest must be above 0, side, steps and batch too, bins above 1"
            )

    def run(self, encode: EncodeTokens, open_store: OpenStore) -> list[Answers]:
        """Means over images of the RMSE, of the error's share of the depth, and of pixels that are within 25 %."""
        shown, asked = self.check(open_store)
        for masks in (shown, asked):
            masks.lie_as(encode)
        seen = Maps(encode, open_store(self.train), shown, cls=True, rows=shown.rows)
        if seen.blank:
            shown.look_through()
        head = learned(
            self._head,
            seen,
            len(shown.keys),
            lambda said, places, step: self._loss(said, self._depths(shown, places).to(said.device), step),
            steps=self.steps,
            batch=self.batch,
            lr=self.rate,
            weight_decay=self.weight_decay,
            warmup=1 / 3,
            seed=self.seed,
        )
        store = open_store(self.store)
        return [self._answers(head, Maps(encode, store, asked, cls=True), asked, store)]

    def check(self, open_store: OpenStore) -> tuple[Masks, Masks]:
        """The depths to learn from and those that are asked; StoreError where a picture is missing."""
        store = open_store(self.store)
        return Masks(open_store(self.train), self.train_masks, self.side, store), Masks(store, self.masks, self.side)

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The pictures that answers hang on, by knob."""
        return files_of_masks(self, open_store)

    def _head(self, width: int) -> nn.Module:
        return _Head(width, torch.linspace(_LEAST, self.farthest, self.bins))

    def _depths(self, masks: Masks, places: np.ndarray) -> Float[Tensor, "b s s"]:
        """In metres, 0 where it is not known."""
        found = torch.from_numpy(masks.of(places)).float() * self.unit
        return torch.where(found > self.farthest, 0.0, found)

    def _loss(self, said: Float[Tensor, "b g g"], right: Float[Tensor, "b s s"], step: int) -> Tensor:
        said, known = self._enlarged(said), right > 0
        if int(known.sum()) < 2:
            return said.sum() * 0
        gap = (said[known] + _LEAST).log() - (right[known] + _LEAST).log()
        spread = gap.var() if step >= _UNSPREAD else 0.0
        return (spread + 0.15 * gap.mean() ** 2 + 1e-12).sqrt()

    def _enlarged(self, said: Float[Tensor, "b g g"]) -> Float[Tensor, "b s s"]:
        return F.interpolate(said[:, None], size=(self.side, self.side), mode="bilinear", align_corners=False)[:, 0]

    @torch.inference_mode()
    def _answers(self, head: nn.Module, maps: Maps, masks: Masks, store: Any) -> Answers:
        rows: dict[str, list[float]] = {"rmse": [], "relative": [], "near": []}
        keys: list[str] = []
        for start in paced(f"{masks.root}: images and their depths", len(masks.keys), self.batch, hearer()):
            places = np.arange(start, min(start + self.batch, len(masks.keys)))
            right = self._depths(masks, places).double()
            if not start or not maps.blank:
                said = self._enlarged(head(maps.of(places))).cpu().double()
            alike = said[:1].expand_as(right) if maps.blank else said
            for place, ours, theirs in zip(places.tolist(), alike, right, strict=True):
                known = theirs > 0
                if not known.any():
                    continue
                ours, theirs = ours[known].clamp(_LEAST, self.farthest), theirs[known]
                keys.append(masks.keys[place])
                rows["rmse"].append(float((ours - theirs).square().mean().sqrt()))
                rows["relative"].append(float(((ours - theirs).abs() / theirs).mean()))
                rows["near"].append(float((torch.maximum(ours / theirs, theirs / ours) < 1.25).double().mean()))
        if not keys:
            raise StoreError(
                f"{masks.root}: no pixel of {store.path} has a depth up to {self.farthest} m; correct unit or farthest"
            )
        return Answers(
            key=keys,
            columns={name: np.array(values) for name, values in rows.items()},
            measures=(
                Measure("RMSE", "rmse", more=False),
                Measure("relative error", "relative", more=False),
                Measure("within 25 %", "near"),
            ),
            facts={"images": float(len(keys))},
        )


class _Head(nn.Module):
    def __init__(self, width: int, centres: Float[Tensor, "n"]):
        super().__init__()
        self.norm, self.score = nn.BatchNorm2d(width), nn.Conv2d(width, len(centres), 1)
        nn.init.normal_(self.score.weight, std=0.01)
        self.register_buffer("centres", centres)

    def forward(self, maps: Float[Tensor, "b e g g"]) -> Float[Tensor, "b h h"]:
        larger = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)
        share = self.score(self.norm(larger)).relu() + 0.1
        return torch.einsum("bnhw,n->bhw", share / share.sum(1, keepdim=True), self.get_buffer("centres"))
