"""How a student was trained, in words: on what, by which optimiser, at which learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distillkit.recipe import Data, Optim
from distillkit.report.named import of_images
from distillkit.report.words import listing
from distillkit.system.wording import count as counted

Asked = tuple[Path, int | None]  # a store, and about how many rows of it its teacher was asked

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


def looked_at(
    rows: Mapping[str, int | None], captions: bool = False, asked: Mapping[str, Asked] | None = None, of: str = ""
) -> str:
    """What the teacher was shown, by the recipe's names of the stores: "70 images and 160 unpaired texts".

    `rows`: how many were trained on, of a view less than `asked`. `captions`: the images' own were learned from, too.
    A number that nobody recorded is None. `of`: of how many images, where several rows are one.
    """
    asked = asked or {}
    images = of_images(rows)
    behind = " with their captions" if captions else ""
    told = [_counted(images, of_images(asked), "row" if of else "image", of + behind)] if images else []
    things = {"texts": "unpaired text" if images else "text", "classes": "class prompt"}
    told += [
        _counted([rows[name]], [asked[name]] if name in asked else [], thing)
        for name, thing in things.items()
        if name in rows
    ]
    return listing(told)


def _counted(numbers: Sequence[int | None], asked: Sequence[Asked], thing: str, behind: str = "") -> str:
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return f"{thing}s{behind} (how many was not recorded)"
    trained, whole = sum(known), list(dict(asked).values())  # views of one store were made by one pass
    these = "of the rows" if thing == "row" else "of them"
    every = [number for number in whole if number is not None]
    if len(every) < len(whole):
        of = "its store" if len(whole) == 1 else "its stores"
        return f"every {thing} of {of}{behind} (how many then was not recorded; {trained:,} {these} in training)"
    if sum(every) <= trained:
        return counted(trained, thing) + behind
    return f"{counted(sum(every), thing)}{behind} ({trained:,} {these} in training)"


def seen_in_training(data: Data, facts: dict[str, Any]) -> str:
    """How much the student was shown: "960 augmented views", or of a student of texts "960 texts"."""
    if data.images or data.mix:
        return counted(facts["images_seen"], "augmented view")
    return counted(facts["steps"] * (data.text_batch_size or data.batch_size), "text")


def batch(data: Data) -> str:
    """How many of what make a batch, and by what its texts are drawn."""
    parts = [counted(data.batch_size, "image")] if data.images or data.mix else []
    texts = counted(data.text_batch_size or data.batch_size, "text")
    drawn = {
        "uniform": texts,
        "proximal": f'{texts} drawn from those mined as near to its images (sampling = "proximal")',
        "neighbours": 'all texts mined as near to its images (sampling = "neighbours")',
    }
    parts += [drawn[data.sampling]] if data.texts else []
    return ", ".join(parts)


def weights(teacher: dict[str, Any]) -> str:
    """Which weights a teacher has, as far as its record tells: imported features may come without."""
    known = [teacher["precision"]] if "precision" in teacher else []
    known.append(f"sha256 {teacher['weights_sha256']}" if "weights_sha256" in teacher else "weights not recorded")
    return ", ".join(known)
