"""The `[data]` of a training recipe: what is read, how it is seen, and how many at once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import MEMORY, Size
from distillkit.system.environment import whole_number
from distillkit.system.workers import cores

# How a batch gets the images' own captions: not at all, one row per image, or equal captions merged into one row.
Captions = Literal["none", "paired", "unique"]
# Which of unpaired texts a batch gets.
Sampling = Literal["uniform", "proximal", "neighbours"]


FLIP = (
    "the probability that a crop is mirrored, left to right. The stored features remain those of the unmirrored image: "
    'set 0 where left and right matter, as for texts in images. With data.views = "stored" this key has no effect: '
    "those views are shown as the teacher saw them, mirrored or not"
)
_MIXED = "Only for terms whose target is a choice among classes or texts, which is mixed as well; others are refused"
_FIRST_CLASS = "the class number that label 0 stands for; -1 where labels begin at 1"


class Augment(Strict):
    """A random crop, perhaps mirrored, drawn anew for each sample and epoch. Defaults: DIME-FM, arXiv 2303.18232."""

    crop: Literal["resized", "fixed"] = Field(
        "resized",
        description='"resized": a crop of random size and shape, resized to the student\'s image_size; "fixed": a crop '
        "of that size, cut from the image (or from its square in the pixel cache) without resizing",
    )
    resample: Literal["pillow", "torchvision", "nvjpeg"] = Field(
        "pillow",
        description='the library that decodes and resizes. "torchvision" is faster, rounds crops to whole pixels and '
        'differs from "pillow" by a grey level or two; "nvjpeg" decodes JPEGs on the student\'s GPU, to other levels '
        'again, and resizes them there as "torchvision" does. Pixels differ, so each makes another student',
    )
    scale: tuple[float, float] = Field(
        (0.08, 1.0), strict=False, description="the least and the largest share of the image's area that a crop covers"
    )
    ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), strict=False, description="the least and the largest width / height of a crop"
    )
    flip: float = Field(0.5, ge=0, le=1, description=FLIP)
    interpolation: Literal["bilinear", "bicubic"] = Field("bilinear", description="how crops are resized")
    mixup: float = Field(0.0, ge=0, description=f"the alpha of mixup; 0: none. {_MIXED}")
    cutmix: float = Field(0.0, ge=0, description=f"the alpha of CutMix; 0: none. {_MIXED}")
    mixed_batches: float = Field(
        1.0, gt=0, le=1, description="the share of batches that are mixed; with mixup and cutmix, half by each"
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        (least, most), (narrow, wide) = self.scale, self.ratio
        if not (0 <= least <= most <= 1 and most):
            raise ValueError(f"scale = [{least}, {most}]: want 0 <= low <= high <= 1, and high above 0")
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
    """What a store that is not extracted yet will hold; only `recipe check` reads this table."""

    rows: int = Field(gt=0, le=MOST, description="rows of the store")
    widths: dict[str, int] = Field(description="the width of a vector by field, as { image = 512 }")
    patches: int = Field(0, ge=0, le=MOST, description="patch tokens of an image; 0: none are stored")
    views: int = Field(1, gt=0, le=MOST, description="views of an image; 1 for texts")


class Mask(Strict):
    """Hide patches of a part of each batch from the student, as Proteus does. Defaults: its training script."""

    ratio: float = Field(0.5, gt=0, lt=1, description="the share of an image's patches that is hidden")
    share: float = Field(0.5, gt=0, le=1, description="the share of a batch's images that are masked, its first ones")


class Mixed(Strict):
    """One of several image stores that are mixed in every batch."""

    images: str = Field(description="an image store")
    weight: float = Field(
        1.0, gt=0, description="the store's share of every batch is its weight / the sum of all weights"
    )
    root: str | None = Field(None, description="the folder where the store's images lie now, if they were moved")
    shots: int | None = Field(
        None, gt=0, le=MOST, description="only so many images of each class (few-shot fine-tuning); all, if not given"
    )
    first_class: int = Field(0, description=f"{_FIRST_CLASS}. For stores that each number their own classes from 0")


class Also(Strict):
    """One more teacher, from the run's image store or from another store, whose rows are joined by key."""

    images: str | None = Field(None, description="the store with the teacher's features; the run's, if not given")
    teacher: str | None = Field(
        None, description="the teacher's name in that store; needed where the store has several teachers"
    )


class Data(Strict):
    """What training reads: an image store, and at most one kind of text; or texts alone."""

    images: str | None = Field(None, description="the image store")
    mix: list[Mixed] = Field(
        default_factory=list,
        description="several image stores in place of `images`; the first decides how long an epoch is",
    )
    teacher: str | None = Field(
        None, description="the name of the teacher to learn from, where a store has features of several"
    )
    also: dict[str, Also] = Field(
        default_factory=dict, description='more teachers, by a name that a loss refers to as `teacher = "NAME"`'
    )
    source: Literal["store", "live"] = Field(
        "store",
        description='"live": run the recipe\'s [teacher] at every step instead of reading the store, to check that '
        "the result is the same",
    )
    views: Literal["own", "stored"] = Field(
        "own",
        description='"own": the student sees crops of its own, and learns the features of the clean view; "stored": it '
        "sees the views that were extracted, another one each epoch, and learns their own features",
    )
    texts: str | None = Field(None, description="a store of texts that are not paired with the images")
    sampling: Sampling = Field(
        "uniform",
        description='which of `texts` a batch gets. "uniform": every text once in a pass; "proximal": text_batch_size '
        "of the texts that were mined for the batch's images; \"neighbours\": all of these, and each image's nearest "
        "counts as its caption",
    )
    neighbours: str = Field(
        "neighbours",
        description="the name under which `distillkit mine-neighbours` kept the neighbours that sampling reads",
    )
    neighbours_k: int | None = Field(
        None, gt=0, le=MOST, description="how many mined neighbours of an image are used; all, if not given"
    )
    captions: Captions = Field(
        "none",
        description='whether batches have the images\' own captions. "paired": a text for each image; "unique": equal '
        "captions of a batch become one text that describes several images",
    )
    classes: str | None = Field(
        None,
        description="a store of class prompts: each image's text is its class. The images' captions can be read beside "
        "them, as `teacher.caption`",
    )
    class_names: str | None = Field(
        None, description="the file of class names that `classes` was made of, where images have names and no labels"
    )
    labels: bool = Field(
        False, description="batches have each image's class, for the loss one_hot; images without a class are left out"
    )
    first_class: int = Field(0, description=f"{_FIRST_CLASS}. Of `classes`, or of labels")
    root: str | None = Field(None, description="the folder where the images of `images` lie now, if they were moved")
    roots: dict[str, str] = Field(
        default_factory=dict,
        description="where the images of any store lie now, if they were moved: { STORE = FOLDER }",
    )
    order: Literal["random", "blocks"] = Field(
        "random",
        description='"random": all rows are shuffled. "blocks": rows are read in runs as they lie in the store, and '
        "shuffled among 131,072 at a time; for stores larger than memory, or behind a URL",
    )
    batch_size: int = Field(gt=1, le=MOST, description="images in a step, of all processes together")
    text_batch_size: int | None = Field(
        None, gt=1, le=MOST, description="unpaired texts in a step; as many as images, if not given"
    )
    repeats: int = Field(1, gt=0, le=MOST, description="how many passes over the images are one epoch")
    pixel_cache: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="keep decoded images on disk as squares with sides of this many pixels; not given: no cache",
    )
    pixel_cache_format: Literal["raw", "jpeg"] = Field(
        "raw", description='"jpeg" takes less room, but is decoded each time'
    )
    workers: int | None = Field(None, gt=0, le=4096, description="threads that make a batch; one a core, if not given")
    prefetch: int | None = Field(
        None,
        ge=0,
        le=MOST,
        description="batches that are made ahead. If not given, 2 beside a GPU; on a CPU the first steps find out "
        "whether 0 or 2 is faster",
    )
    memory: Size | None = Field(None, description=MEMORY)
    render: Literal["auto", "workers", "device"] = Field(
        "auto",
        description='what resizes crops: the "workers" that decode, or the student\'s "device", a batch at once; the '
        'pixels are the same. "auto" is the device if it is a GPU',
    )
    augment: Augment = Augment()
    mask: Mask | None = Field(None, description="patches that are hidden from the student; not given: none")
    expect: Expect | None = Field(
        None, description="what a store that is not extracted yet will hold, for recipe check"
    )

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
            raise ValueError(
                "labels go with one image store, and without captions; leave out labels, or mix and captions"
            )
        if self.pixel_cache and self.augment.resample == "nvjpeg":
            raise ValueError('augment.resample = "nvjpeg" decodes, but a pixel_cache is decoded already; leave one out')
        if not self.images and not self.texts and not self.mix:
            raise ValueError("name an image store in `images`, a text store in `texts`, or both")
        if self.also and (self.mix or not self.images):
            raise ValueError("also: more teachers are joined to the rows of one store; name it in `images`")
        reserved = {"teacher", "student"} & self.also.keys()
        if reserved:
            raise ValueError(f"also: a teacher cannot be called {reserved.pop()!r} here; choose another name")
        return self
