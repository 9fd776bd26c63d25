"""What the teacher cost once, from the log of its extraction, and what it would have cost in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from distillkit.recipe import TrainRecipe
from distillkit.report.named import ALSO, also_of, of_images
from distillkit.store.format.log import commands, logged, taken_along
from distillkit.store.reading.reader import FeatureStore

BENCH = "bench.json"  # in a run's folder: what `distillkit bench-model` measured of it


@dataclass(frozen=True)
class Pass:
    """The teacher's pass over one corpus. `forward` is the teacher's own part of `seconds`, by field.

    `store`: which it made; views of it were made by no pass of their own. `images`: how many images its rows have;
    several captions of an image are rows of one.
    """

    store: str
    rows: int
    failed: int
    images: int
    seconds: float
    forward: dict[str, float]
    commands: list[str]
    machines: list[dict[str, Any]]

    def each(self, field: str) -> float:
        """Seconds that the teacher alone took for one row of a field."""
        return self.forward[field] / max(self.images if field == "image" else self.rows - self.failed, 1)


def teacher_pass(store: FeatureStore, teacher: str | None = None) -> Pass | None:
    """What the store's extraction logged, of a view that of its store; None when it logged nothing. `teacher`: of
    several the one that is meant.
    """
    view = getattr(store, "selection", None)  # which is made without a teacher
    place = view.store if view else store.path
    # A merged store is of the passes that made its parts, and of none of its own.
    computed = [line for line in taken_along(place) if "forward_seconds" in line] + logged(place)
    lines = [line | {"forward_seconds": _forward(line, teacher)} for line in computed]
    if not lines:
        return None
    fields = {field for line in lines for field in line["forward_seconds"]}
    return Pass(
        store=str(place),
        rows=sum(line["rows"] for line in lines),
        failed=sum(line["failed"] for line in lines),
        images=sum(line.get("images", line["rows"] - line["failed"]) for line in lines),
        seconds=sum(line["seconds"] for line in lines),
        forward={field: sum(line["forward_seconds"].get(field, 0.0) for line in lines) for field in sorted(fields)},
        commands=commands(place),
        machines=_distinct([line.get("machine") for line in lines]),
    )


def _forward(line: dict[str, Any], teacher: str | None) -> dict[str, float]:
    """By what was looked at. Where several teachers looked, or one that was added, its name stands before it."""
    named = {tuple(name.rpartition("/")[::2]): seconds for name, seconds in line["forward_seconds"].items()}
    whose = {who for who, _ in named}
    meant = teacher if teacher in whose else next(iter(whose), "") if len(whose) == 1 else ""
    return {what: seconds for (who, what), seconds in named.items() if who == meant}


@dataclass(frozen=True)
class Online:
    """One kind of input with the teacher in every step: `number` of them, at the measured cost of one. A plain loop
    asks about every text of every batch, also those that it asked about before.

    `passes`: each one that made a store of it, once, however many views of that store there are.
    """

    what: str
    field: str
    number: int
    passes: tuple[Pass, ...]

    @cached_property
    def measured(self) -> Pass:
        """All of them as one."""
        return _together(self.passes)

    @property
    def each(self) -> float:
        """Seconds for one of them."""
        return self.measured.each(self.field)

    @property
    def seconds(self) -> float:
        return self.number * self.each

    @property
    def once_each(self) -> float:
        """The same with a teacher that is asked about no text twice; views of images are new every time."""
        different = self.measured.rows - self.measured.failed
        return self.each * (min(self.number, different) if self.field == "text" else self.number)


def online(
    recipe: TrainRecipe, facts: dict[str, Any], passes: dict[str, Pass | None], texts_a_step: float | None
) -> list[Online]:
    """What training would have asked the teacher. `passes` go by the recipe's names of their stores; `texts_a_step`:
    None where nobody knows, and then nothing is said of texts.
    """
    texts = () if texts_a_step is None else _known([passes.get("texts")])
    texts_seen = round(facts["steps"] * (texts_a_step or 0))
    images = _known(of_images(passes))
    asked = [
        ("views of images", "image", facts["images_seen"], images),
        ("captions", "text", facts["images_seen"], images if with_captions(recipe) else ()),
        ("texts", "text", texts_seen, texts),
    ]
    asked += [
        (f"views of images for {name.removeprefix(ALSO)}", "image", facts["images_seen"], _known([passes[name]]))
        for name in also_of(passes)
    ]
    return [
        Online(what, field, number, found)
        for what, field, number, found in asked
        if any(field in one.forward for one in found)
    ]


def with_captions(recipe: TrainRecipe) -> bool:
    """Whether the teacher's word on the images' own captions was learned from: one of an image that is seen."""
    return recipe.data.captions != "none" and recipe.data.texts is None


def _known(passes: Sequence[Pass | None]) -> tuple[Pass, ...]:
    """Each once; none where one of the stores does not say."""
    found = [one for one in passes if one]
    return tuple(_distinct(found)) if len(found) == len(passes) else ()


def _together(passes: Sequence[Pass]) -> Pass:
    """What several stores cost, as one."""
    fields = sorted({name for one in passes for name in one.forward})
    return Pass(
        store=", ".join(one.store for one in passes),
        rows=sum(one.rows for one in passes),
        failed=sum(one.failed for one in passes),
        images=sum(one.images for one in passes),
        seconds=sum(one.seconds for one in passes),
        forward={name: sum(one.forward.get(name, 0.0) for one in passes) for name in fields},
        commands=_distinct([command for one in passes for command in one.commands]),
        machines=_distinct([machine for one in passes for machine in one.machines]),
    )


def _distinct(values: list[Any]) -> list[Any]:
    """Without what was not recorded, each once, in order."""
    return [value for place, value in enumerate(values) if value is not None and value not in values[:place]]
