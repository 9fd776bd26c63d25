"""The recipe of stage 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component
from distillkit.recipe.only import only
from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import Size
from distillkit.system.workers import cores

DType = Literal["float16", "bfloat16", "float32", "int8"]


class NamedTeacher(Component):
    """One of several teachers; its fields are stored as `name/field`."""

    name: str = Field(pattern=r"^\w[\w.-]*$")


class RandAugment(Strict):
    """Operations on a view's colours and geometry, written down one by one. Defaults: timm's rand-m9-mstd0.5-inc1."""

    ops: int = Field(2, gt=0, le=MOST, description="operations on a view")
    magnitude: float = Field(9.0, ge=0, le=10, description="how strong they are")
    spread: float = Field(0.5, ge=0, description="the standard deviation of the magnitude")
    probability: float = Field(0.5, gt=0, le=1, description="with which each of them is done")


class Views(Strict):
    """K views of every image, each stored with its features: random resized crops, mirrored with probability `flip`.

    `clean_first`: view 0 is the teacher's own evaluation transform. Defaults of the crop: CLIP-KD and TinyCLIP.
    """

    count: int = Field(gt=0, le=MOST, description="how many views of every image")
    clean_first: bool = True
    scale: tuple[float, float] = Field(
        (0.9, 1.0), strict=False, description="the share of an image's area that a crop may have"
    )
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), strict=False, description="width by height that a crop may have")
    flip: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the probability that a view is mirrored, left to right; the teacher sees it so, and its features "
        "are of the mirrored view; view 0 is not mirrored if clean_first",
    )
    randaugment: RandAugment | None = None
    seed: int = Field(0, ge=0, description="which views are drawn")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, (low, high), most in (("scale", self.scale, 1.0), ("ratio", self.ratio, float("inf"))):
            if not 0 < low <= high <= most:
                raise ValueError(f"{name} = [{low}, {high}]: want 0 < low <= high" + (" <= 1" if most == 1 else ""))
        return self

    @property
    def operations(self) -> int:
        """How many operations a view can have."""
        return self.randaugment.ops if self.randaugment else 0


class Sampled(Strict):
    """Samples drawn by lot: the same ones for a seed, in whatever order the source has them."""

    n: int = Field(gt=0, le=MOST, description="how many; all of a corpus that has fewer")
    seed: int = Field(0, ge=0, description="another one draws others")


class Corpus(Strict):
    """One store to extract: a source, and the fields that teachers are asked for.

    A field is "image", or "name/image" where more than one of the teachers gives it. `views`: random views
    of every image, beside or in place of the clean one.
    A corpus may be a part of what its source has: what `include` and `exclude` leave, of that what `min_side` leaves,
    of that a `sample`, of that the first `limit`.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$", description="of its store")
    source: Component = Field(description="what is read, a kind of sources")
    fields: list[str] = Field(
        min_length=1, description='what the teachers are asked for: "image", "text", "cls", "patches", "logits"'
    )
    class_names: str | None = Field(
        None, description="a file of class names, one a line: labels are names then, and their numbers its lines'"
    )
    include: list[str] = Field(
        default_factory=list,
        description="patterns of keys, one of which must fit: `cats/**` the whole, `*.png` the end",
    )
    exclude: list[str] = Field(default_factory=list, description="patterns of keys that are left out")
    min_side: int | None = Field(None, gt=0, le=2**16, description="images with a shorter side are left out")
    max_pixels: int | None = Field(
        None, gt=0, le=MOST, description="an image with more is refused; 178,956,970 if not given"
    )
    sample: Sampled | None = None
    limit: int | None = Field(None, gt=0, le=MOST, description="only so many, the first ones")
    views: Views | None = None
    dtype: DType = Field("float16", description="in which features are kept")
    dtypes: dict[str, DType] = Field(default_factory=dict, description="of single fields, where it is another one")
    compression: dict[str, Literal["zstd"]] = Field(default_factory=dict, description="of fields that hold tokens")
    rows_per_shard: int | None = Field(
        None, gt=0, le=MOST, description="65,536, or fewer where rows are large, if not given"
    )
    batch_size: int = Field(256, gt=0, le=MOST, description="images or texts that a teacher is shown at once")
    max_failures: float = Field(0.1, ge=0, le=1, description="share of failed rows above which the exit code is 1")

    @property
    def narrowed(self) -> dict[str, Any]:
        """What takes a part of the source, where something does; nothing of a whole one."""
        said = self.model_dump(include={"include", "exclude", "min_side", "sample", "limit"})
        return {name: value for name, value in said.items() if value not in (None, [])}

    @property
    def drawn_views(self) -> Views | None:
        """The views, where there are more than the clean one."""
        only_clean = self.views is None or (self.views.count == 1 and self.views.clean_first)
        return None if only_clean else self.views


class Ray(Strict):
    """A pool of `least` to `most` actors (as many as there is room for, if not given), each with all the teachers.

    `address`: of a running cluster ("auto": the one of this machine); without one, a small one of our own is started.
    `cpus`, `gpus`: what an actor takes; by default torch's threads, and a GPU where the cluster has any.
    """

    address: str | None = None
    least: int = Field(1, gt=0, le=4096, description="actors at least")
    most: int | None = Field(
        None, gt=0, le=4096, description="actors at most; as many as there is room for, if not said"
    )
    cpus: float | None = Field(None, gt=0, description="of an actor; torch's threads, if not said")
    gpus: float | None = Field(None, ge=0, description="of an actor; one where the cluster has any, if not said")


class ExtractRecipe(Strict):
    """Stage 1: one teacher, or several at once, over any number of corpora; each becomes `out`/`corpus.name`."""

    name: str = Field(description="what the extraction is called")
    out: str = Field(description="the folder of its stores, or a URL; each is `out`/`corpus.name`")
    teacher: Component | None = Field(None, description="whom to ask, a kind of teachers")
    teachers: list[NamedTeacher] = Field(
        default_factory=list, description="several of them, asked of the same images in one pass"
    )
    corpora: list[Corpus] = Field(min_length=1, description="what the teachers are shown, a store each")
    next: str | None = Field(None, description="the command to name when all is extracted")
    decode: Literal["threads", "processes"] = Field(
        "threads", description="what decodes images, decode_threads of them"
    )
    decode_threads: int | None = Field(None, gt=0, le=4096, description="one a core, if not given")
    memory: Size | None = Field(
        None,
        description="what decoded images may take at once, as 2GiB; a quarter of what is free, if not given",
    )
    ray: Ray = Ray()

    @model_validator(mode="after")
    def _components(self) -> Self:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("write one [teacher], or [[teachers]] with a `name` each")
        if self.teacher is not None:
            if "name" in self.teacher.knobs:
                raise ValueError("a teacher that has a name is written in double brackets: [[teachers]]")
            self.teacher.check("teachers", "teacher")
        aliases = [teacher.name for teacher in self.teachers]
        for number, teacher in enumerate(self.teachers):
            teacher.check("teachers", f"teachers[{number}]")
            if teacher.name in aliases[:number]:
                raise ValueError(f"two teachers are called {teacher.name!r}; their fields would be the same")
        names = [corpus.name for corpus in self.corpora]
        for number, corpus in enumerate(self.corpora):
            corpus.source.check("sources", f"corpora[{number}].source")
            if corpus.name in names[:number]:
                raise ValueError(f"two corpora are called {corpus.name!r}; they would be one store")
        return self

    def only(self, names: Sequence[str]) -> ExtractRecipe:
        """Of its corpora those of these names alone; RecipeError for a name that none has."""
        return self.model_copy(update={"corpora": only(self.corpora, names, lambda one: one.name, "corpus")})

    @property
    def decoders(self) -> int:
        """How many decode images."""
        return self.decode_threads or cores()

    @property
    def by_alias(self) -> dict[str, Component]:
        """The teachers by the name under which their fields are stored; a lone [teacher] goes by its kind."""
        if self.teacher is not None:
            return {self.teacher.kind: self.teacher}
        return {teacher.name: teacher for teacher in self.teachers}
