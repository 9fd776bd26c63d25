"""Linear segmentation: which class each pixel is of, from patch tokens that nobody changes. mIoU.

    logits = W batchnorm(patch) + b,  enlarged to the pixels;  cross-entropy

DINOv2's protocol (https://arxiv.org/abs/2304.07193, section 7.4), as Proteus reports it (https://arxiv.org/abs/2407.10366):
AdamW, lr 1e-3, weight decay 1e-4, 40,000 steps of 16 images. Other than there the images are not augmented, and seen is
the largest centred square: a store's maps, once made, serve all steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.evals._answers import Answers
from distillkit.evals._encode import EncodeTokens, OpenStore
from distillkit.evals._maps import Maps, learned
from distillkit.evals._masks import files_of_masks
from distillkit.evals._segmented import IGNORED, ClassMasks, enlarged, segmented
from distillkit.system.one_image import rows_of_images


class LinearSegmentation:
    """`train`: a store of images to learn from; images that are in the measured store, too, are left out. `store`: the
    store of images that are measured. `masks`: the folder of the measured images' masks (_masks.py). `train_masks`: the
    folder of the masks of the images to learn from; the same folder, if not given. `side`: at how many pixels a side
    masks are compared.

    `classes`: how many classes there are. `first_class`: the number in masks that is the first class. `ignore`: the
    numbers in masks that are no class; 255, if not given. `steps`: training steps of the head. `batch`: images in a
    step. `rate`: the learning rate of AdamW. `weight_decay`: of AdamW. `seed`: of the head's first weights and the
    order of images.
    """

    def __init__(
        self,
        *,
        train: str,
        store: str,
        masks: str,
        classes: int,
        train_masks: str | None = None,
        first_class: int = 0,
        ignore: list[int] | None = None,
        side: int = 224,
        steps: int = 40_000,
        batch: int = 16,
        rate: float = 1e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
        name: str | None = None,
    ):
        self.train, self.store, self.name = train, store, name or "linear_segmentation"
        self.masks, self.train_masks, self.side = masks, train_masks or masks, side
        self.classes, self.first_class, self.ignore = classes, first_class, [255] if ignore is None else ignore
        self.steps, self.batch, self.rate, self.weight_decay, self.seed = steps, batch, rate, weight_decay, seed
        if min(side, steps, batch) < 1:
            raise RecipeError(
                f"evals.linear_segmentation: side, steps and batch are {side}, {steps} and {batch}: not below 1"
            )

    def run(self, encode: EncodeTokens, open_store: OpenStore) -> list[Answers]:
        """mIoU over all pixels, IoU per image, whose paired test is the sharper one, and pixels that are right."""
        shown, asked = self.check(open_store)
        for masks in (shown, asked):
            masks.lie_as(encode)
        seen = Maps(encode, open_store(self.train), shown, rows=shown.rows)
        head = learned(
            self._head,
            seen,
            shown.images,
            lambda said, places, step: self._loss(said, shown.of(places)),
            steps=self.steps,
            batch=self.batch,
            lr=self.rate,
            weight_decay=self.weight_decay,
            warmup=1500 / 40_000,
            seed=self.seed,
        )
        store = open_store(self.store)
        maps, keys = Maps(encode, store, asked), store.index["key"].take(rows_of_images(store)).to_pylist()
        return [segmented(asked, shown, keys, self.batch, self.side, lambda places: head(maps.of(places)), maps.blank)]

    def check(self, open_store: OpenStore) -> tuple[ClassMasks, ClassMasks]:
        """The masks to learn from and those that are asked; StoreError where one is missing."""
        knobs = (self.side, self.classes, self.first_class, self.ignore)
        store = open_store(self.store)
        shown = ClassMasks(open_store(self.train), self.train_masks, *knobs, but=store)
        return shown, ClassMasks(store, self.masks, *knobs)

    def files(self, open_store: OpenStore) -> dict[str, list[Path]]:
        """The pictures that answers hang on, by knob."""
        return files_of_masks(self, open_store)

    def _head(self, width: int) -> nn.Module:
        last = nn.Conv2d(width, self.classes, 1)
        nn.init.normal_(last.weight, std=0.01)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.BatchNorm2d(width), last)

    def _loss(self, said: Float[Tensor, "b c g g"], right: np.ndarray) -> Tensor:
        target = torch.from_numpy(right).to(said.device)
        # A batch without any class: no gradient, rather than 0 / 0.
        summed = F.cross_entropy(enlarged(said, self.side), target, ignore_index=IGNORED, reduction="sum")
        return summed / (target != IGNORED).sum().clamp(min=1)
