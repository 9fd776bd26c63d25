"""The `[data]` of a training recipe: what is read, how it is seen, and how many at once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import Size
from distillkit.system.environment import whole_number
from distillkit.system.workers import cores

# How a batch gets the images' own captions: not at all, one row per image, or equal captions merged into one row.
Captions = Literal["none", "paired", "unique"]
# Which of unpaired texts a batch gets.
Sampling = Literal["uniform", "proximal", "neighbours"]


FLIP = (
    "the probability that a crop is mirrored, left to right. The stored features stay as they are, of the unmirrored "
    'image: set 0 where left and right matter, as for texts in images. With data.views = "stored" this is not asked: '
    "those views are shown as the teacher saw them, mirrored or not"
)


class Augment(Strict):
    """A random crop, perhaps mirrored, drawn per sample and epoch. Defaults: DIME-FM, arXiv 2303.18232.

    `crop = "fixed"` cuts the student's own size out of the image as it lies (of a pixel cache: its square), which
    needs no resizing. `resample`: who decodes and resizes. "torchvision" is faster, rounds boxes to whole pixels and
    differs from "pillow" by a grey level or two, so it is another student; "nvjpeg" decodes JPEGs on the student's GPU,
    with other levels again, and resizes them there as "torchvision" does.

    `mixup`, `cutmix`: the alpha of each, 0 is none; of `mixed_batches`, both get half. For terms whose target is a
    choice among classes or texts, which can be mixed as well; any other is refused.
    """

    crop: Literal["resized", "fixed"] = "resized"
    resample: Literal["pillow", "torchvision", "nvjpeg"] = "pillow"
    scale: tuple[float, float] = Field(
        (0.08, 1.0), strict=False, description="the share of an image's area that a crop may have"
    )
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), strict=False, description="width by height that a crop may have")
    flip: float = Field(0.5, ge=0, le=1, description=FLIP)
    interpolation: Literal["bilinear", "bicubic"] = Field("bilinear", description="of the resizing")
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    mixed_batches: float = Field(1.0, gt=0, le=1, description="the share of batches whose images are mixed")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        (least, most), (narrow, wide) = self.scale, self.ratio
        if not (0 <= least <= most <= 1 and most):
            raise ValueError(f"scale = [{least}, {most}]: want 0 <= low <= high <= 1, and more than nothing")
        if not 0 < narrow <= wide:
            raise ValueError(f"ratio = [{narrow}, {wide}]: want 0 < low <= high")
        return self

    @property
    def mixes(self) -> bool:
        return bool(self.mixup or self.cutmix)

    @property
    def still(self) -> bool:
        """Whether every pass shows the same of an image, upright and uncut."""
        return self.crop == "resized" and self.scale == self.ratio == (1.0, 1.0) and not self.flip


class Expect(Strict):
    """What a store will hold that is not extracted yet; only `recipe check` reads it."""

    rows: int = Field(gt=0, le=MOST, description="how many")
    widths: dict[str, int] = Field(description="numbers of a vector, by field")
    patches: int = Field(0, ge=0, le=MOST, description="patch tokens of an image, where they are stored")
    views: int = Field(1, gt=0, le=MOST, description="views of an image; texts have one")


class Mask(Strict):
    """Proteus' masks: `ratio` of the patches, of the first `share` of a batch. Defaults: its training script."""

    ratio: float = Field(0.5, gt=0, lt=1)
    share: float = Field(0.5, gt=0, le=1)


class Mixed(Strict):
    """One of several image stores; its share of every batch is its `weight` among all weights.

    `shots`: only so many images of each class (few-shot fine-tuning). `first_class`: which class its label 0
    is, where every store numbers its own classes from 0; -1 where its labels begin at 1.
    """

    images: str = Field(description="an image store")
    weight: float = Field(1.0, gt=0)
    root: str | None = Field(None, description="where its images lie by now, if they were moved")
    shots: int | None = Field(None, gt=0, le=MOST)
    first_class: int = 0


class Also(Strict):
    """One more teacher: of the same image store, or of another one whose rows are joined by key."""

    images: str | None = Field(None, description="its store, where it is another one")
    teacher: str | None = Field(None, description="its name in that store, or in the run's own")


class Data(Strict):
    """What training reads: an image store, and at most one kind of text; or texts alone.

    `mix`: several image stores in place of `images`; the first makes the epoch. `also`: more teachers by name, which a
    term asks for with `teacher = "NAME"`. `views = "stored"`: the student sees the views that were extracted, another
    one each epoch, with their features; "own": its own crops against the features of the clean view.
    `source = "live"`: ask the recipe's [teacher] at every step instead of the store, to see that nothing changes.

    `order = "blocks"`: rows that lie together come together, and 131,072 at a time are shuffled among each other; for
    stores larger than memory, which a disk then reads in long runs, or behind a URL, whose shards then come in turn.

    `texts`: an unpaired text store. `neighbours`: the name under which an image's nearest texts were mined (`distillkit
    mine-neighbours`), for the samplings that read them. `captions`: the images' own. `classes`: a store of class
    prompts, with which the images' captions become `teacher.caption`. `class_names`: the file of class names behind
    `classes`, where images have names instead of labels. `teacher`: whom to learn from, where a store holds what
    several teachers said. `repeats`: passes over the images that make an epoch.

    `render`: who resizes crops, the "workers" that decode, or the student's "device", a batch at once; to the same
    bytes. "auto" is the device if it is a GPU.
    """

    images: str | None = Field(None, description="the image store")
    mix: list[Mixed] = Field(default_factory=list)
    teacher: str | None = None
    also: dict[str, Also] = Field(default_factory=dict)
    source: Literal["store", "live"] = "store"
    views: Literal["own", "stored"] = "own"
    texts: str | None = None
    sampling: Sampling = Field(
        "uniform",
        description='"uniform": every text once in a pass; "proximal": text_batch_size of those that were mined for '
        'the batch; "neighbours": all that were mined for it, and each image is described by its nearest',
    )
    neighbours: str = "neighbours"
    neighbours_k: int | None = Field(None, gt=0, le=MOST, description="of the mined neighbours of an image; None: all")
    captions: Captions = "none"
    classes: str | None = None
    class_names: str | None = None
    labels: bool = Field(False, description="batches carry each image's class, for one_hot; who has none has no turn")
    first_class: int = Field(0, description="which class of the prompts is label 0; -1 where labels begin at 1")
    root: str | None = Field(None, description="where the images of `images` lie by now, if they were moved")
    roots: dict[str, str] = Field(
        default_factory=dict,
        description="where images lie by now, if they were moved, of any store: { STORE = FOLDER }",
    )
    order: Literal["random", "blocks"] = "random"
    batch_size: int = Field(gt=1, le=MOST, description="images a step")
    text_batch_size: int | None = Field(None, gt=1, le=MOST, description="unpaired texts a step")
    repeats: int = Field(1, gt=0, le=MOST)
    pixel_cache: int | None = Field(
        None, gt=0, le=MOST, description="keep decoded images as squares of this many pixels"
    )
    pixel_cache_format: Literal["raw", "jpeg"] = Field("raw", description="jpeg: less room, decoded each time")
    workers: int | None = Field(None, gt=0, le=4096, description="threads that make a batch; None: one a core")
    prefetch: int | None = Field(
        None, ge=0, le=MOST, description="batches made ahead; None: 2 beside a GPU; on a CPU the first steps try both"
    )
    memory: Size | None = Field(
        None,
        description="what decoded images may take at once, as 2GiB; a quarter of what is free, if not given",
    )
    render: Literal["auto", "workers", "device"] = "auto"
    augment: Augment = Augment()
    mask: Mask | None = None
    expect: Expect | None = None

    @property
    def moved(self) -> dict[str, str]:
        """Where images lie by now, by the store as the recipe names it; of those that were moved."""
        said = {one.images: one.root for one in self.mix} | {self.images: self.root}
        return self.roots | {store: root for store, root in said.items() if store and root}

    @property
    def threads(self) -> int:
        """Threads that make a batch: one a core, shared with the other processes of a run on this machine."""
        return self.workers or max(cores() // whole_number("LOCAL_WORLD_SIZE", 1, least=1), 1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.texts and (self.classes or self.captions != "none"):
            raise ValueError("texts (unpaired) excludes captions and classes; keep one")
        if self.sampling != "uniform" and not (self.texts and self.images):
            raise ValueError(f'sampling = "{self.sampling}" needs `images` and the `texts` they have neighbours in')
        if self.images and self.mix:
            raise ValueError("name one image store in `images`, or several in `mix`")
        if self.mix and self.captions == "unique":
            raise ValueError('mix goes with texts, classes or captions = "paired": merged captions are of one store')
        if self.labels and (self.mix or self.captions != "none"):
            raise ValueError("labels are those of one image store, beside which no captions are read; keep one of them")
        if self.pixel_cache and self.augment.resample == "nvjpeg":
            raise ValueError('augment.resample = "nvjpeg" decodes; pixel_cache holds what is decoded; leave one out')
        if not self.images and not self.texts and not self.mix:
            raise ValueError("name an image store in `images`, a text store in `texts`, or both")
        if self.also and (self.mix or not self.images):
            raise ValueError("also: more teachers are joined to the rows of one store; name it in `images`")
        reserved = {"teacher", "student"} & self.also.keys()
        if reserved:
            raise ValueError(f"also: a teacher cannot be called {reserved.pop()!r} here; choose another name")
        return self
