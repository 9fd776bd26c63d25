"""The recipe of stage 2."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component, Term
from distillkit.recipe.schema import Strict

# How a batch gets the images' own captions: not at all, one row per image, or equal captions merged into one row.
Captions = Literal["none", "paired", "unique"]


class Augment(Strict):
    """RandomResizedCrop and flip, drawn per sample and epoch. Defaults: DIME-FM, arXiv 2303.18232."""

    scale: tuple[float, float] = Field((0.08, 1.0), strict=False)
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), strict=False)
    flip: float = Field(0.5, ge=0, le=1)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Expect(Strict):
    """What a store will hold that is not extracted yet; only `recipe check` reads it."""

    rows: int = Field(gt=0)
    widths: dict[str, int]
    patches: int = Field(0, ge=0, description="patch tokens of an image, where they are stored")


class Mask(Strict):
    """Proteus' masks: `ratio` of the patches, of the first `share` of a batch. Defaults: its training script."""

    ratio: float = Field(0.5, gt=0, lt=1)
    share: float = Field(0.5, gt=0, le=1)


class Data(Strict):
    """What training reads: an image store, and at most one kind of text; or texts alone.

    `texts`: an unpaired text store. `captions`: the images' own. `classes`: a store of class prompts, with which the
    images' captions become `teacher.caption`; `class_names` is the file of names behind it, where images have names
    instead of labels. `teacher`: whom to learn from, where a store holds what several teachers said. `repeats`: passes
    over the images that make an epoch.
    """

    images: str | None = None
    teacher: str | None = None
    texts: str | None = None
    captions: Captions = "none"
    classes: str | None = None
    class_names: str | None = None
    root: str | None = None
    batch_size: int = Field(gt=1)
    text_batch_size: int | None = Field(None, gt=1)
    repeats: int = Field(1, gt=0)
    pixel_cache: int | None = Field(None, gt=0, description="keep decoded images as raw squares of this many pixels")
    workers: int = Field(1, gt=0)
    augment: Augment = Augment()
    mask: Mask | None = None
    expect: Expect | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.texts and (self.classes or self.captions != "none"):
            raise ValueError("texts (unpaired) excludes captions and classes; keep one")
        if not self.images and not self.texts:
            raise ValueError("name an image store in `images`, a text store in `texts`, or both")
        return self


class Optim(Strict):
    """Optimiser and learning rate: linear warm-up, then `schedule`. Defaults: DIME-FM's training code.

    multistep: times `gamma` at each of `milestones` (epochs). onecycle: Smith and Topin, https://arxiv.org/abs/1708.07120,
    from lr/25 up to lr at 30 % and down to lr/250,000, without warm-up. `every = "epoch"` moves the rate once an epoch.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "multistep", "onecycle", "constant"] = "cosine"
    every: Literal["step", "epoch"] = "step"
    milestones: list[float] = Field(default_factory=list)
    gamma: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    layer_decay: float = Field(1.0, gt=0, le=1, description="lr of each layer further from the output, times this")
    epochs: float = Field(gt=0)
    lr: float = Field(8e-4, gt=0)
    min_lr: float = Field(4e-5, ge=0)
    warmup_lr: float = Field(4e-6, ge=0)
    warmup_epochs: float = Field(4.0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = Field((0.9, 0.999), strict=False)
    eps: float = Field(1e-8, gt=0)
    clip_grad_norm: float | None = Field(None, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


class Checkpoints(Strict):
    """When the state of a run is kept, and how many of those states."""

    every_steps: int = Field(500, gt=0)
    keep: int = Field(2, gt=0)


class Baseline(Strict):
    """The same student, data order, seed and budget under other losses, trained beside the student."""

    losses: list[Term] = Field(min_length=1)
    captions: Captions = "none"


class TrainRecipe(Strict):
    """Stage 2: one student against one store."""

    name: str
    paper: str | None = None
    note: str | None = None
    seed: int = 0
    out: str | None = None
    device: str = "auto"
    data: Data
    student: Component
    losses: list[Term] = Field(min_length=1)
    optim: Optim
    checkpoints: Checkpoints = Checkpoints()
    baseline: Baseline | None = None
    evals: list[Component] = Field(default_factory=list)

    @model_validator(mode="after")
    def _components(self) -> Self:
        self.student.check("students", "student")
        baseline = self.baseline.losses if self.baseline else []
        for place, room, components in (
            ("losses", "losses", self.losses),
            ("baseline.losses", "losses", baseline),
            ("evals", "evals", self.evals),
        ):
            for number, component in enumerate(components):
                component.check(room, f"{place}[{number}]")
        return self

    @property
    def folder(self) -> Path:
        return Path(self.out or f"runs/{self.name}")

    def of_baseline(self) -> TrainRecipe | None:
        """The baseline as a recipe of its own, in the folder `baseline` of the run."""
        if self.baseline is None:
            return None
        data = self.data.model_copy(update={"captions": self.baseline.captions, "texts": None})
        changed = {"losses": self.baseline.losses, "data": data, "out": str(self.folder / "baseline"), "baseline": None}
        return self.model_copy(update=changed)
