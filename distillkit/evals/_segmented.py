"""Classes of pixels: masks as class numbers, and what a network said of them as rows, one an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._answers import Answers, Measure
from distillkit.evals._held import untaught, without_example
from distillkit.evals._labels import UNSHOWN, numbered
from distillkit.evals._masks import Masks
from distillkit.system.progress import hearer, paced

IGNORED = -1
_MASKS = 64  # at once


class ClassMasks:
    """Masks below `root` whose number `first_class` is class 0 of `classes`; those in `ignore` are no class. `but`: see
    Masks.
    """

    def __init__(
        self, store: Any, root: str, side: int, classes: int, first_class: int, ignore: Sequence[int], but: Any = None
    ):
        self._masks = Masks(store, root, side, but)
        self.classes, self._first, self._ignore = classes, first_class, ignore
        if classes < 2:
            raise RecipeError(f"evals: classes = {classes}: at least 2 are needed, such as figure and ground")

    @property
    def root(self) -> Path:
        return self._masks.root

    @property
    def images(self) -> int:
        return len(self._masks.keys)

    @property
    def rows(self) -> Int64[np.ndarray, "n"]:
        return self._masks.rows

    def of(self, places: np.ndarray) -> Int64[np.ndarray, "b side side"]:
        """The class of each pixel, IGNORED where it has none."""
        numbers = self._masks.of(places)
        found = np.where(np.isin(numbers, self._ignore), IGNORED, numbers - self._first)
        strange = numbers[((found < 0) | (found >= self.classes)) & ~np.isin(numbers, self._ignore)]
        if len(strange):
            raise StoreError(
                f"{self._masks.root}: a pixel is {strange[0]}, and the classes are {self._first} to "
                f"{self._first + self.classes - 1}; set classes, first_class, or ignore = [{strange[0]}]"
            )
        return found

    def lie_as(self, encode: Any) -> None:
        """See Masks."""
        self._masks.lie_as(encode)

    def size_of(self, place: int) -> tuple[int, int]:
        """Width and height of this image's mask."""
        return self._masks.size_of(place)

    @property
    def store(self) -> Path:
        return self._masks.store

    def called(self, classes: Sequence[int]) -> str:
        """The first of these, by the numbers that masks have for them."""
        return numbered([one + self._first for one in classes])

    def look_through(self) -> Bool[np.ndarray, "c"]:
        """Which classes there are. StoreError for the first that cannot be read, or has a pixel of no class."""
        found = np.zeros(self.classes + 1, bool)
        for start in paced(f"{self.root}: masks looked through", self.images, _MASKS, hearer()):
            found[np.unique(self.of(np.arange(start, min(start + _MASKS, self.images))))] = True  # IGNORED is the last
        return found[:-1]


def enlarged(scores: Float[Tensor, "b c g g"], side: int) -> Float[Tensor, "b c side side"]:
    """Scores of patches as scores of pixels."""
    return F.interpolate(scores, size=(side, side), mode="bilinear", align_corners=False)


@torch.inference_mode()
def segmented(
    masks: ClassMasks,
    shown: ClassMasks,
    keys: Sequence[str],
    batch: int,
    side: int,
    scores: Callable[[np.ndarray], Tensor],
    blank: bool = False,
) -> Answers:
    """`shown`: what was learned from. `scores`: for some images, of each patch and class. Images without any class
    leave no row. `blank`: they are all alike, and asked for once; every mask is looked at all the same.

    Rows: intersection and union of what was said and what is right, in pixels, a number a class; IoU over the classes
    that are in the image or were said of it; and the share of pixels that are right.
    """
    parts = []
    for start in paced(f"{masks.root}: images and their masks", len(keys), batch, hearer()):
        places = np.arange(start, min(start + batch, len(keys)))
        right = torch.from_numpy(masks.of(places))
        if not start or not blank:
            said = enlarged(scores(places).float(), side).argmax(1).cpu()
        parts.append(_counted(said[:1].expand_as(right) if blank else said, right, masks.classes))
    inter, union, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
    there = np.flatnonzero(pixels.sum(1))
    if not len(there):
        raise StoreError("masks: no pixel of any image has a class; correct classes, first_class or ignore")
    inter, union, pixels = inter[there], union[there], pixels[there]
    known = pixels.sum(1)
    taught = shown.look_through()
    bare = without_example(pixels > 0, taught)
    if bare.images and (say := hearer()) is not None:
        say(untaught(shown.store, masks.store, bare, len(there), masks.called(bare.classes), "--keys"))
    # Nobody says a class that has no example, however many pixels are of it.
    often = float((pixels / known[:, None]).mean(0)[taught].max(initial=0.0))
    shares = np.divide(inter, union, out=np.zeros(inter.shape), where=union > 0)
    return Answers(
        key=[keys[place] for place in there.tolist()],
        columns={
            "intersection": inter,
            "union": union,
            "iou": shares.sum(1) / (union > 0).sum(1),
            "right": inter.sum(1) / known,
        },
        measures=(
            Measure("mIoU", "intersection", how="ratio", over="union"),
            Measure("IoU per image", "iou"),
            Measure("pixels right", "right", chance=1 / masks.classes, majority=often),
        ),
        facts={"images": float(len(there)), "classes": float(masks.classes)}
        | ({UNSHOWN: float(bare.images)} if bare.images else {}),
    )


def _counted(
    said: Int64[Tensor, "b s s"], right: Int64[Tensor, "b s s"], classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By image and class: intersection, union, and how many pixels are of it."""
    known = (right != IGNORED).flatten(1)
    said, right = said.flatten(1), right.flatten(1)
    image = torch.arange(len(said))[:, None].expand_as(said)

    def counts(of: Tensor, where: Tensor) -> np.ndarray:
        flat = (image * classes + of)[where]
        return torch.bincount(flat, minlength=len(said) * classes).reshape(len(said), classes).numpy()

    inter = counts(right, known & (said == right))
    pixels = counts(right, known)
    return inter, pixels + counts(said, known) - inter, pixels
