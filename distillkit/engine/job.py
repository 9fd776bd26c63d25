"""What an extraction is asked for: which teachers, which of their fields, of which corpus."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from distillkit.engine.plain import Plain
from distillkit.errors import StoreError
from distillkit.pixels import views
from distillkit.recipe import Corpus, Views
from distillkit.store.format import layout
from distillkit.store.format.field import PARAMETERS, Field
from distillkit.store.format.steps import Steps
from distillkit.store.reading.additions import FOLDER
from distillkit.system.paths import followed

_MOST_ROWS, _SHARD_BYTES = 65_536, 1 << 29


@dataclass(frozen=True)
class Teacher:
    """A loaded network, and everything its features depend on."""

    network: Any
    fingerprint: dict[str, Any]

    @property
    def look(self) -> Any:
        """Its way from an image to pixels, which travels without the network."""
        preprocess = self.network.preprocess
        return preprocess if hasattr(preprocess, "decode") else Plain(preprocess)


def store_at(out: Path, corpus: Corpus) -> Path:
    """Where the store of a corpus lies. Of a link that is what it leads to: a store that is replaced, and what is made
    beside it until it is whole, stay on that disk, and another recipe that names the store itself finds both.
    """
    return followed(out / corpus.name)


@dataclass(frozen=True)
class Job:
    """One corpus on its way to the store at `path`. `asked` names teacher and field, in the recipe's order."""

    path: Path
    corpus: Corpus
    teachers: Mapping[str, Teacher]
    asked: tuple[tuple[str, str], ...]
    decode_threads: int
    decode: Literal["threads", "processes"] = "threads"
    steps: Mapping[str, Steps] = field(default_factory=dict)  # what the numbers of int8 fields mean
    adds: bool = False  # to a store that has the parameters of the views already
    # Of a store that a successor is made of: numbers of its classes by name, what was left out of rows that are kept.
    classes: Mapping[str, int] = field(default_factory=dict)
    losses: Sequence[Mapping[str, str]] = ()

    def __post_init__(self) -> None:
        if self.corpus.drawn_views:
            self._refuse_views_that_mean_nothing()

    @cached_property
    def source(self) -> Any:
        return self.corpus.source.build("sources")

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The arrays of the store; where several views are kept, theirs are the first axis of a row."""
        drawn = self.corpus.drawn_views
        fields = {f"{alias}/{name}": self._field(alias, name, drawn) for alias, name in self.asked}
        if drawn and not self.adds:
            shape = [drawn.count, len(views.columns(drawn))]
            fields[PARAMETERS] = Field(teacher="views", shape=shape, dtype="float32", per_view=True)
        return fields

    def _field(self, alias: str, name: str, drawn: Views | None) -> Field:
        network = self.teachers[alias].network
        shape = list(network.fields[name])
        per_view = drawn is not None and name != "text"
        # What is no measurement, such as the numbers of classes, has a dtype of its own.
        own, dtypes, packed = getattr(network, "dtypes", {}), self.corpus.dtypes, self.corpus.compression
        field = Field(
            teacher=alias,
            shape=[drawn.count, *shape] if drawn and per_view else shape,
            dtype=own.get(name) or dtypes.get(f"{alias}/{name}") or dtypes.get(name) or self.corpus.dtype,
            per_view=per_view,
            compression=packed.get(f"{alias}/{name}") or packed.get(name),
        )
        if field.compression and not field.holds_tokens:
            raise StoreError(
                f"corpus {self.corpus.name!r}: compression of {alias}/{name}: only fields of tokens, such as patches, "
                "can be compressed (one vector shrinks little, and could not be mapped into memory); leave it out"
            )
        return field

    @cached_property
    def rows_per_shard(self) -> int:
        """As the recipe has it; else 65,536, or as many as make half a GiB where rows are large."""
        if self.corpus.rows_per_shard is not None:
            return self.corpus.rows_per_shard
        step = math.lcm(*(layout.step(field) for field in self.fields.values()))
        row_bytes = sum(field.row_bytes for field in self.fields.values())
        return max(step, min(_MOST_ROWS, _SHARD_BYTES // row_bytes) // step * step)

    @property
    def images_per_batch(self) -> int:
        """A teacher is shown `batch_size` views at once, or all those of one image where they are more."""
        views = self.corpus.drawn_views
        return max(1, self.corpus.batch_size // (views.count if views else 1))

    def exactly(self, names: Collection[str]) -> Job:
        """These fields alone, in float32."""
        asked = tuple(pair for pair in self.asked if "/".join(pair) in names)
        exact = self.corpus.model_copy(update={"dtype": "float32", "dtypes": {}, "compression": {}})
        return replace(self, corpus=exact, asked=asked, adds=True)

    def only(self, aliases: Collection[str]) -> Job:
        """These teachers alone."""
        return replace(self, asked=tuple(pair for pair in self.asked if pair[0] in aliases))

    def beside(self, aliases: Sequence[str]) -> Job:
        """These teachers alone, as an addition to the store that all of them were asked for."""
        return replace(self.only(aliases), path=self.path / FOLDER / "+".join(aliases), adds=True)

    @property
    def passes(self) -> dict[str, dict[str, list[str]]]:
        """What is shown, "image" or "text"; to which teachers; for which of their fields. In the recipe's order."""
        passes: dict[str, dict[str, list[str]]] = {}
        for alias, name in self.asked:
            passes.setdefault("text" if name == "text" else "image", {}).setdefault(alias, []).append(name)
        return passes

    def _refuse_views_that_mean_nothing(self) -> None:
        """Texts have no views; a view is a box, and view 0 is one box for all teachers."""
        where, looks = f"corpus {self.corpus.name!r}: views", []
        for alias in self.passes.get("image", {}):
            looks.append(self.teachers[alias].look)
            looks[-1].refuse_views()
        if not looks:
            raise StoreError(f"{where}: none of its fields is of images; leave [corpora.views] out")
        clean = {look.clean_view(640, 480) for look in looks}
        if self.corpus.views and self.corpus.views.clean_first and len(clean) > 1:
            raise StoreError(
                f"{where}: the evaluation transforms of {' and '.join(self.passes['image'])} show different parts "
                "of an image, so there is no one clean view; set views.clean_first = false, or make two stores"
            )

    def identity(self, duplicates: int) -> dict[str, Any]:
        """What the rows depend on, beside plan and fields."""
        drawn = self.corpus.drawn_views
        return {
            "source": {
                "kind": self.corpus.source.kind,
                "knobs": self.corpus.source.knobs,
                "root": None if self.source.root is None else str(self.source.root),
                "duplicates": duplicates,
                **({"narrowed": self.corpus.narrowed} if self.corpus.narrowed else {}),
                **({"max_pixels": self.corpus.max_pixels} if self.corpus.max_pixels else {}),
            },
            "teachers": {alias: self.teachers[alias].fingerprint for alias, _ in self.asked},
            "views": views.facts(drawn) if drawn else {"count": 1, "kind": "the teacher's own evaluation transform"},
            "batch_size": self.corpus.batch_size,
        }


def fields_asked(corpus: Corpus, teachers: Mapping[str, Teacher]) -> tuple[tuple[str, str], ...]:
    """Teacher and name of every field of a corpus; StoreError for what nobody gives, or more than one teacher does."""
    given = [(alias, name) for alias, teacher in teachers.items() for name in teacher.network.fields]
    full = [f"{alias}/{name}" for alias, name in given]
    asked: list[tuple[str, str]] = []
    for wanted in corpus.fields:
        found = [pair for pair, whole in zip(given, full, strict=True) if wanted in (whole, pair[1])]
        if not found and len(teachers) == 1:
            known = ", ".join(name for _, name in given)
            raise StoreError(f"corpus {corpus.name!r}: the teacher gives no {wanted!r}; it gives: {known}")
        if not found:
            raise StoreError(f"corpus {corpus.name!r}: no teacher gives {wanted!r}; they give: {', '.join(full)}")
        if len(found) > 1:
            choice = " or ".join(f"{alias}/{name}" for alias, name in found)
            raise StoreError(f"corpus {corpus.name!r}: several teachers give {wanted!r}; write {choice}")
        if found[0] in asked:
            raise StoreError(f"corpus {corpus.name!r}: asks for {wanted!r} twice")
        asked += found
    for alias, name in asked:
        if name == "logits" and (alias, "classes") in given and (alias, "classes") not in asked:
            raise StoreError(f"corpus {corpus.name!r}: asks for logits of the best classes; ask for `classes` as well")
    names = {name for pair in asked for name in (pair[1], "/".join(pair))}
    for knob, named in (("dtypes", corpus.dtypes), ("compression", corpus.compression)):
        for wanted in named.keys() - names:
            raise StoreError(f"corpus {corpus.name!r}: {knob} names {wanted!r}, which is none of its fields")
    return tuple(asked)
