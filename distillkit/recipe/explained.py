"""What every knob of a recipe means, read from where it is declared: type and default from the schema, the meaning from
its description or from the sentences of a docstring that name it, the source from file and paper.

    distillkit recipe explain affinity
    distillkit recipe explain optim.lr

A sentence that names no knob belongs to the one before it in its paragraph.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from distillkit.errors import RecipeError
from distillkit.recipe.component import Component
from distillkit.recipe.evaluation import EvalRecipe
from distillkit.recipe.extraction import ExtractRecipe
from distillkit.recipe.mining import MineRecipe, SelectRecipe
from distillkit.recipe.registry import ROOMS, kinds, resolve
from distillkit.recipe.schema import means, models
from distillkit.recipe.shared_meanings import SHARED
from distillkit.recipe.spelled import spelled, spelled_default
from distillkit.recipe.training import TrainRecipe

# Each kind of recipe, and the command that takes it.
RECIPES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("extract-teacher", ExtractRecipe),
    ("train-student", TrainRecipe),
    ("evaluate --eval", EvalRecipe),
    ("mine-neighbours", MineRecipe),
    ("select-texts", SelectRecipe),
)


@dataclass(frozen=True)
class Knob:
    """One key: `path` is the key with the table it stands in, as `optim.lr` or `losses.affinity.weight`."""

    path: str
    type: str
    default: str | None  # None: it has to be given
    meaning: str
    source: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Table:
    """The knobs of one table of a recipe, or of one kind of a room; `where` says which recipes have it."""

    path: str
    where: str
    meaning: str
    source: str
    knobs: tuple[Knob, ...]


@cache
def every_table() -> tuple[Table, ...]:
    """All there are: the tables of each recipe, then every kind of every room, which are imported for it."""
    of_recipes = [table for command, model in RECIPES for table in _tables(command, model, "")]
    return (*of_recipes, *(_of_kind(room, kind) for room in ROOMS for kind in kinds(room)))


def explained(word: str) -> list[Table]:
    """The tables that a word means: a kind, a table, or a knob, whose table then holds that knob alone.

    RecipeError names the nearest words where there is none.
    """
    room, _, kind = word.partition("/")
    if room in ROOMS and ":" in kind:
        return [_of_kind(room, kind)]
    tables, word = every_table(), word.replace("/", ".")
    found = [table for table in tables if word == table.path or word == table.path.rpartition(".")[2]]
    if not found:
        found = [
            Table(table.path, table.where, table.meaning, table.source, (knob,))
            for table in tables
            for knob in table.knobs
            if word in (knob.path, knob.name)
        ]
    if not found:
        found = _of_every_kind(tables, word)
    if not found:
        known = {name for table in tables for name in (table.path, *(knob.path for knob in table.knobs))}
        known |= {name.rpartition(".")[2] for name in known}
        near = [name for name in sorted(known) if "." in name and means(word, name.rpartition(".")[2])]
        near = near or difflib.get_close_matches(word, sorted(known), n=3)
        hint = f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else "see docs/reference.md for all of them"
        raise RecipeError(f"{word}: no kind and no key of a recipe is called so; {hint}")
    return found


def _of_every_kind(tables: tuple[Table, ...], word: str) -> list[Table]:
    """A key of a component as a recipe writes it, `teacher.model`, `corpora.source.file`: of each kind that has it."""
    *above, name = word.split(".")
    room = above[-1] if above else ""
    room = room if room in ROOMS else f"{room}s"
    return [
        Table(table.path, table.where, table.meaning, table.source, (knob,))
        for table in tables
        if room in ROOMS and table.path.startswith(f"{room}.")
        for knob in table.knobs
        if knob.name == name
    ]


def _tables(command: str, model: type[BaseModel], above: str) -> Iterator[Table]:
    """A model and those within it, by the path they have in a recipe."""
    knobs = tuple(_of_field(model, above, name, field) for name, field in model.model_fields.items())
    yield Table(above or "(top)", command, _prose(model), _source(model), knobs)
    for name, field in model.model_fields.items():
        for inner in models(field.annotation):
            if not issubclass(inner, Component):  # of a component its room has the knobs
                yield from _tables(command, inner, f"{above}.{name}".lstrip("."))


def _of_field(model: type[BaseModel], above: str, name: str, field: FieldInfo) -> Knob:
    default = None if field.is_required() else spelled_default(field.get_default(call_default_factory=True))
    tables = [_prose(inner) for inner in models(field.annotation) if not issubclass(inner, Component)]
    meaning = field.description or _sentences(model, [*model.model_fields]).get(name) or "".join(tables)
    kind = spelled(field.annotation, field.metadata)
    return Knob(f"{above}.{name}".lstrip("."), kind, default, _tidy(meaning), _source(model))


def _of_kind(room: str, kind: str) -> Table:
    found = resolve(room, kind)
    hints = typing.get_type_hints(found.__init__, include_extras=True)  # type: ignore[misc]
    own = {
        name: parameter
        for name, parameter in inspect.signature(found.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    said = SHARED.get(room, {}) | _sentences(found, [*own])
    knobs = tuple(
        Knob(
            f"{room}.{kind}.{name}",
            spelled(hints.get(name, Any), ()),
            None if parameter.default is inspect.Parameter.empty else spelled_default(parameter.default),
            _tidy(said.get(name, "")),
            _source(found),
        )
        for name, parameter in own.items()
    )
    return Table(f"{room}.{kind}", f"kind = {kind!r}".replace("'", '"'), _prose(found), _source(found), knobs)


def _prose(found: type) -> str:
    """The first line of the file, which says what it is, or of the class where a file has several."""
    module = inspect.getmodule(found)
    text = (module.__doc__ if module and not issubclass(found, BaseModel) else found.__doc__) or ""
    return _tidy(text.strip().split("\n\n")[0])


def _sentences(found: type, names: list[str]) -> dict[str, str]:
    """What the docstrings of a class, of those it builds on and of its file say of each of these names."""
    said: dict[str, str] = {}
    own = {"distillkit", found.__module__.partition(".")[0]}
    docs = [one.__doc__ or "" for one in found.__mro__ if one.__module__.partition(".")[0] in own]
    module = inspect.getmodule(found)
    for doc in (*docs, (module.__doc__ or "") if module else ""):
        new: dict[str, list[str]] = {}
        for paragraph in inspect.cleandoc(doc).split("\n\n"):
            if paragraph.startswith(("|", "    ")):
                continue  # a table, or a formula
            about: list[str] = []
            for sentence in re.split(r"(?<=[.;])\s+(?=[`A-Z\"])", paragraph.replace("\n", " ")):
                about = [name for name in names if _names(sentence, name)] or about
                for name in about:
                    new.setdefault(name, []).append(sentence)
        said = {name: " ".join(told).removeprefix(f"`{name}`: ") for name, told in new.items()} | said
    return said


def _names(sentence: str, name: str) -> bool:
    return re.search(rf"`{name}(`| = |: )", sentence) is not None


def _tidy(text: str) -> str:
    text = " ".join(text.split()).rstrip(";,:")
    return text if not text or text[-1] in ".)?" else text + "."


def _source(found: type) -> str:
    """The file, and the papers that it names."""
    module = inspect.getmodule(found)
    name = found.__module__.replace(".", "/") + ".py"
    papers = re.findall(r"https://arxiv\.org/abs/[\d.]+\d", (module.__doc__ or "") if module else "")
    return ", ".join(dict.fromkeys([name, *papers]))
