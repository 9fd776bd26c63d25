"""TOML to checked values. A wrong recipe is refused in one line that names the place and the nearest right word.

A component (`kind = "..."`) is checked against the keyword-only parameters of its constructor: the constructor is the
schema. Paths in recipes may use {cache}, ~ and environment variables.
"""

from __future__ import annotations

import difflib
import inspect
import math
import tomllib
import typing
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from distillkit.errors import RecipeError
from distillkit.registry import resolve

# How a batch gets the images' own captions: not at all, one row per image, or equal captions merged into one row.
Captions = Literal["none", "paired", "unique"]

Made = TypeVar("Made", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Component(BaseModel):
    """`kind` and its knobs. `build` passes the run's own values first, then the knobs."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    kind: str

    @property
    def knobs(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})

    def build(self, room: str, *from_the_run: Any) -> Any:
        return resolve(room, self.kind)(*from_the_run, **self.knobs)

    def check(self, room: str, where: str) -> None:
        """Refuse unknown, missing or wrongly typed knobs before anything is built."""
        constructor = resolve(room, self.kind).__init__  # type: ignore[misc]
        hints = typing.get_type_hints(constructor)
        schema: Any = {
            name: (hints.get(name, Any), ... if parameter.default is inspect.Parameter.empty else parameter.default)
            for name, parameter in inspect.signature(constructor).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        checker: Any = create_model(self.kind, __config__=ConfigDict(extra="forbid", strict=True), **schema)
        _validate(checker, self.knobs, f"{where}.{self.kind}")


class Ramp(_Strict):
    """A knob that moves during training: from its own value at step `start` to `to` at step `stop`, then it stays."""

    to: float
    start: int = Field(0, ge=0)
    stop: int = Field(ge=0)
    shape: Literal["linear", "cosine", "step"] = "linear"

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.stop < self.start:
            raise ValueError(f"stop = {self.stop} lies before start = {self.start}")
        return self

    def at(self, step: int, value: float) -> float:
        """What a knob that began as `value` is at `step`."""
        done = min(max((step - self.start) / max(self.stop - self.start, 1), 0.0), 1.0)
        if self.shape == "step":
            done = float(step >= self.stop)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return value + (self.to - value) * done


class Term(Component):
    """A loss of the objective. `ramp = { weight = { to = 0.0, stop = 1000 } }` moves any of its numbers."""

    ramp: dict[str, Ramp] = {}

    def check(self, room: str, where: str) -> None:
        super().check(room, where)
        parameters = inspect.signature(resolve(room, self.kind).__init__).parameters  # type: ignore[misc]
        for knob in self.ramp:
            if knob not in parameters:
                raise RecipeError(f"{where}.{self.kind}: ramp of {knob!r}, which is no knob of it")


class NamedTeacher(Component):
    """One of several teachers; its fields are stored as `name/field`."""

    name: str = Field(pattern=r"^\w[\w.-]*$")


class Corpus(_Strict):
    """One store to extract: a source, and the fields that teachers are asked for.

    A field is "image", or "name/image" where more than one of the teachers gives it.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$")
    source: Component
    fields: list[str] = Field(min_length=1)
    dtype: Literal["float16", "float32"] = "float16"
    rows_per_shard: int = Field(65_536, gt=0)
    batch_size: int = Field(256, gt=0)
    max_failures: float = Field(0.1, ge=0, le=1, description="share of failed rows above which the exit code is 1")


class ExtractRecipe(_Strict):
    """Stage 1: one teacher, or several at once, over any number of corpora; each becomes `out`/`corpus.name`."""

    name: str
    out: str
    teacher: Component | None = None
    teachers: list[NamedTeacher] = []
    corpora: list[Corpus] = Field(min_length=1)
    next: str | None = Field(None, description="the command to name when all is extracted")
    decode_threads: int = Field(2, gt=0)

    @model_validator(mode="after")
    def _components(self) -> Self:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("write one [teacher], or [[teachers]] with a `name` each")
        if self.teacher is not None:
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

    @property
    def by_alias(self) -> dict[str, Component]:
        """The teachers by the name under which their fields are stored; a lone [teacher] goes by its kind."""
        if self.teacher is not None:
            return {self.teacher.kind: self.teacher}
        return {teacher.name: teacher for teacher in self.teachers}


class Augment(_Strict):
    """RandomResizedCrop and flip, drawn per sample and epoch. Defaults: DIME-FM, arXiv 2303.18232."""

    scale: tuple[float, float] = Field((0.08, 1.0), strict=False)
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), strict=False)
    flip: float = Field(0.5, ge=0, le=1)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Expect(_Strict):
    """What a store will hold that is not extracted yet; only `recipe check` reads it."""

    rows: int = Field(gt=0)
    widths: dict[str, int]
    patches: int = Field(0, ge=0, description="patch tokens of an image, where they are stored")


class Mask(_Strict):
    """Proteus' masks: `ratio` of the patches, of the first `share` of a batch. Defaults: its training script."""

    ratio: float = Field(0.5, gt=0, lt=1)
    share: float = Field(0.5, gt=0, le=1)


class Data(_Strict):
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


class Optim(_Strict):
    """Optimiser and learning rate: linear warm-up, then `schedule`. Defaults: DIME-FM's training code.

    multistep: times `gamma` at each of `milestones` (epochs). onecycle: Smith and Topin, https://arxiv.org/abs/1708.07120,
    from lr/25 up to lr at 30 % and down to lr/250,000, without warm-up. `every = "epoch"` moves the rate once an epoch.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "multistep", "onecycle", "constant"] = "cosine"
    every: Literal["step", "epoch"] = "step"
    milestones: list[float] = []
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


class Checkpoints(_Strict):
    """When the state of a run is kept, and how many of those states."""

    every_steps: int = Field(500, gt=0)
    keep: int = Field(2, gt=0)


class Baseline(_Strict):
    """The same student, data order, seed and budget under other losses, trained beside the student."""

    losses: list[Term] = Field(min_length=1)
    captions: Captions = "none"


class TrainRecipe(_Strict):
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
    evals: list[Component] = []

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


def load(path: str | Path, overrides: list[str] | None = None, *, kind: type[Made]) -> Made:
    """Read and check a recipe; `overrides` are `key.path=value` with values in TOML."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such recipe{_recipes_nearby(path)}")
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    for override in overrides or []:
        _override(content, override)
    _refuse_other_stage(path, content, kind)
    return _validate(kind, content, str(path))


def _refuse_other_stage(path: Path, content: dict[str, Any], kind: type[BaseModel]) -> None:
    if kind is TrainRecipe and "corpora" in content:
        raise RecipeError(f"{path}: this is an extraction recipe; run: distillkit extract-teacher {path}")
    if kind is ExtractRecipe and "student" in content:
        raise RecipeError(f"{path}: this is a training recipe; run: distillkit train-student {path}")


def _recipes_nearby(path: Path) -> str:
    near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.toml")], n=1)
    return f", did you mean {path.parent / near[0]}?" if near else ""


def _override(content: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    if not found:
        raise RecipeError(f"--set {override}: write key=value, such as --set optim.lr=3e-4")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except ValueError as error:
        raise RecipeError(
            f"--set {override}: {text!r} is not a TOML value (quote strings: --set '{key}=\"{text}\"')"
        ) from error
    *parents, last = key.strip().split(".")
    place: Any = content
    try:
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise RecipeError(f"--set {override}: the recipe has no place {key!r}") from error


def _validate(model: type[Made], content: Any, where: str) -> Made:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RecipeError(_one_line(model, error, where)) from error


def _one_line(model: type[BaseModel], error: ValidationError, where: str) -> str:
    """The first problem of a validation, as `where: place: what is wrong, did you mean ...?`"""
    # A key nobody knows first: the one that is missing is often the one that was misspelt.
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        parent, _, key = place.rpartition(".")
        known = _known_keys(model, problem["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{where}: {parent + ': ' if parent else ''}unknown key {key!r}, {hint}{more}"
    if problem["type"] == "missing":
        return f"{where}: {place!r} is missing{more}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {place + ': ' if place else ''}{message} (got {problem['input']!r:.80}){more}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [kind for kind in (annotation, *typing.get_args(annotation)) if inspect.isclass(kind)]
        model = next(kind for kind in inner if issubclass(kind, BaseModel))
    return list(model.model_fields)


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What changed between two dumped values, as `key: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in differences(old.get(key, "absent"), new.get(key, "absent"), f"{place}.{key}".lstrip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{place}[{i}]")
        ]
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]
