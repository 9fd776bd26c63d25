"""How a student was trained, in words: on what, by which optimiser, at which learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distillkit.recipe import Data, Optim
from distillkit.report.named import of_images
from distillkit.report.words import listing
from distillkit.system.wording import count as counted

_NAMES = {"adamw": "AdamW", "sgd": "SGD"}


def schedule(optim: Optim) -> str:
    """The course of the learning rate: "linear warm-up of 4 epochs, then cosine to 4e-05"."""
    falls = {
        "cosine": f"cosine to {optim.min_lr}",
        "constant": "constant",
        "multistep": f"times {optim.gamma} at each of epoch {', '.join(f'{at:g}' for at in optim.milestones)}",
        "onecycle": "one cycle: up for 30% of the steps, then down",
    }[optim.schedule]
    if optim.schedule == "onecycle" or not optim.warmup_epochs:
        return falls
    return f"linear warm-up of {counted(optim.warmup_epochs, 'epoch')}, then {falls}"


def optimiser(optim: Optim) -> str:
    """All of it in a line."""
    return f"{counted(optim.epochs, 'epoch')}, {_NAMES[optim.kind]}, learning rate {optim.lr}, {schedule(optim)}"


def looked_at(rows: Mapping[str, int | None], captions: bool = False) -> str:
    """What the teacher was shown, by the recipe's names of the stores: "70 images and 160 unpaired texts".

    `captions`: the images' own were learned from, too. A number that nobody recorded is None.
    """
    images = of_images(rows)
    told = [_counted(images, "image") + (" with their captions" if captions else "")] if images else []
    return listing(
        [*told, *([_counted([rows["texts"]], "unpaired text" if images else "text")] if "texts" in rows else [])]
    )


def _counted(numbers: Sequence[int | None], thing: str) -> str:
    known = [number for number in numbers if number is not None]
    return counted(sum(known), thing) if len(known) == len(numbers) else f"{thing}s (how many was not recorded)"


def seen_in_training(data: Data, facts: dict[str, Any]) -> str:
    """How much the student was shown: "960 augmented views", or of a student of texts "960 texts"."""
    if data.images or data.mix:
        return counted(facts["images_seen"], "augmented view")
    return counted(facts["steps"] * (data.text_batch_size or data.batch_size), "text")


def batch(data: Data) -> str:
    """How many of what make a batch."""
    parts = [counted(data.batch_size, "image")] if data.images or data.mix else []
    parts += [counted(data.text_batch_size or data.batch_size, "text")] if data.texts else []
    return ", ".join(parts)


def weights(teacher: dict[str, Any]) -> str:
    """Which weights a teacher has, as far as its record tells: imported features may come without."""
    known = [teacher["precision"]] if "precision" in teacher else []
    known.append(f"sha256 {teacher['weights_sha256']}" if "weights_sha256" in teacher else "weights not recorded")
    return ", ".join(known)
