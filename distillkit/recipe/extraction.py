"""The recipe of stage 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from distillkit.recipe.component import Component
from distillkit.recipe.only import only
from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import MEMORY, Size
from distillkit.system.workers import cores

DType = Literal["float16", "bfloat16", "float32", "int8"]
ADDRESS = (
    'of a running Ray cluster; "auto": the one on this machine. Not given: a local one is started for this command'
)


class NamedTeacher(Component):
    """One of several teachers; its fields are stored as `name/field`."""

    name: str = Field(pattern=r"^\w[\w.-]*$")


class RandAugment(Strict):
    """Random operations on a view's colours and geometry, stored with it. Defaults: timm's rand-m9-mstd0.5-inc1."""

    ops: int = Field(2, gt=0, le=MOST, description="how many operations are drawn for a view")
    magnitude: float = Field(9.0, ge=0, le=10, description="mean strength of an operation, from 0 to 10, the strongest")
    spread: float = Field(0.5, ge=0, description="standard deviation of the strength; 0: it is always magnitude")
    probability: float = Field(0.5, gt=0, le=1, description="that a drawn operation is applied")


class Views(Strict):
    """Several views of every image, each stored with its features: random resized crops, which may be mirrored.

    Defaults of the crop: CLIP-KD and TinyCLIP.
    """

    count: int = Field(gt=0, le=MOST, description="views of every image, view 0 included")
    clean_first: bool = Field(
        True, description="true: view 0 is not random, but the teacher's own evaluation transform of the image"
    )
    scale: tuple[float, float] = Field(
        (0.9, 1.0), strict=False, description="the least and the largest share of the image's area that a crop covers"
    )
    ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), strict=False, description="the least and the largest width / height of a crop"
    )
    flip: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the probability that a view is mirrored, left to right. The teacher sees it so: the stored "
        "features are of the mirrored view. With clean_first, view 0 is never mirrored",
    )
    randaugment: RandAugment | None = Field(
        None, description="random operations on colours and geometry besides the crop; not given: none"
    )
    seed: int = Field(0, ge=0, description="of the random crops and operations; another seed draws others")

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
    """A random part of a corpus. A seed always draws the same samples, in whatever order the source has them."""

    n: int = Field(gt=0, le=MOST, description="how many samples are drawn; of a corpus with fewer, all")
    seed: int = Field(0, ge=0, description="another seed draws other samples")


class Corpus(Strict):
    """One store to extract: a source, and the fields that the teachers compute for each of its samples.

    A corpus may be a part of its source. What narrows it is applied in this order: `include` and `exclude`, `min_side`,
    `sample`, `limit`.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$", description="of the corpus, and of its store below `out`")
    source: Component = Field(description="where samples are read from: a table with one of the kinds of sources")
    fields: list[str] = Field(
        min_length=1,
        description='what teachers compute: "image", "text", "cls", "patches", "logits" (with "classes", of a teacher '
        'with top_k); "NAME/image" where several teachers give the field',
    )
    class_names: str | None = Field(
        None,
        description="a file of class names, one a line. The source's labels are then names, and a class's number is "
        "that of its line, from 0",
    )
    include: list[str] = Field(
        default_factory=list,
        description="patterns of keys; a sample is taken only if its key fits one of them. With a slash, `cats/**`, a "
        "pattern must fit the whole key; without one, `*.png`, the key's last part",
    )
    exclude: list[str] = Field(
        default_factory=list, description="patterns of keys, as in include; a sample that fits one is left out"
    )
    min_side: int | None = Field(
        None, gt=0, le=2**16, description="in pixels; images whose shorter side is below this are left out"
    )
    max_pixels: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="an image with more pixels (width x height) is not decoded, and its row fails; 178,956,970 if not "
        "given",
    )
    sample: Sampled | None = Field(None, description="take a random part of what include, exclude and min_side leave")
    limit: int | None = Field(None, gt=0, le=MOST, description="take only the first so many of what all others leave")
    views: Views | None = Field(
        None, description="random views of every image, beside the clean one or in its place; not given: none"
    )
    dtype: DType = Field("float16", description="the number format in which features are stored")
    dtypes: dict[str, DType] = Field(
        default_factory=dict, description='other formats for single fields, as { patches = "int8" }'
    )
    compression: dict[str, Literal["zstd"]] = Field(
        default_factory=dict, description='by field, of those that hold tokens: { patches = "zstd" }'
    )
    rows_per_shard: int | None = Field(
        None,
        gt=0,
        le=MOST,
        description="rows that are written and committed together; if not given, 65,536, or fewer where rows are large",
    )
    batch_size: int = Field(256, gt=0, le=MOST, description="images, or texts, in a batch of the teacher")
    max_failures: float = Field(
        0.1, ge=0, le=1, description="the share of rows that may fail; above it, the command ends with exit code 1"
    )

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
    """For `--engine ray`: a pool of worker processes (actors). In an extraction, each of them holds all teachers."""

    address: str | None = Field(None, description=ADDRESS)
    least: int = Field(1, gt=0, le=4096, description="the smallest number of actors in the pool")
    most: int | None = Field(
        None,
        gt=0,
        le=4096,
        description="the largest number of actors; if not given, as many as the cluster has room for",
    )
    cpus: float | None = Field(None, gt=0, description="CPUs of an actor; if not given, as many as torch has threads")
    gpus: float | None = Field(None, ge=0, description="GPUs of an actor; if not given, 1 where the cluster has any")


class ExtractRecipe(Strict):
    """Stage 1: one teacher, or several at once, over any number of corpora. Each corpus becomes a store."""

    name: str = Field(description="of the extraction")
    out: str = Field(description="the folder of the stores, or a URL; each store is `out`/`corpora.name`")
    teacher: Component | None = Field(
        None, description="the frozen network to run: a table with one of the kinds of teachers"
    )
    teachers: list[NamedTeacher] = Field(
        default_factory=list,
        description="several teachers in place of `teacher`, each with a `name`; they share one pass over the images",
    )
    corpora: list[Corpus] = Field(min_length=1, description="what the teachers are run over; each becomes a store")
    next: str | None = Field(None, description="a command to show as the next step once all is extracted")
    decode: Literal["threads", "processes"] = Field(
        "threads", description="whether threads or processes decode images; decode_threads says how many"
    )
    decode_threads: int | None = Field(
        None, gt=0, le=4096, description="how many threads, or processes, decode images; one a core, if not given"
    )
    memory: Size | None = Field(None, description=MEMORY)
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
