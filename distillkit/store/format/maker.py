"""Which command makes a store, as its plan or manifest says: for refusals that send people to make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.store.format.log import typed
from distillkit.system.atomic import parsed_json
from distillkit.system.retyped import by_one_process, from_here
from distillkit.system.wording import as_word

_WHICH = ", where RECIPE is the recipe that it was begun with"


@dataclass(frozen=True)
class Caller:
    """Who asked for an extraction, in words to type: what it is begun with, how it goes on where its corpus grew, what
    does it anew where it shrank, how to have it elsewhere, and what to mend if nothing of a corpus is of use ("{}":
    the knobs that say where it is).
    """

    begin: str = "distillkit extract-teacher RECIPE"
    append: str = "distillkit store append RECIPE"
    smaller: str = "--allow-smaller"
    elsewhere: str = "set `out` to another place"
    mend: str = "mend {} in the recipe"


_CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


@contextmanager
def called_by(one: Caller) -> Iterator[None]:
    """Within it, refusals of extractions name the commands of this caller, who has no recipe."""
    token = _CALLER.set(one)
    try:
        yield
    finally:
        _CALLER.reset(token)


def caller() -> Caller:
    """Whose commands refusals of an extraction name: a recipe's, where nobody else has asked."""
    return _CALLER.get() or Caller()


def maker(source: Mapping[str, Any], teachers: Mapping[str, Mapping[str, Any]]) -> str:
    """The words behind `distillkit`, without what belongs to one store."""
    if teachers and all(facts.get("kind") == "mined" for facts in teachers.values()):
        return "mine-neighbours"
    if "imported" in source:
        return "store import"
    return "store merge" if source.get("kind") == "merged" else "extract-teacher"


def how_again(store: Path) -> str:
    """The command that mends or remakes the store at `store`: as it was typed, where a log tells that, else as far as
    is known; where nothing is, an extraction's.

    Each of these does what is damaged anew, and leaves what is whole.
    """
    begun = _begun(store / "plan.json") or _begun(store / "manifest.json") or {}
    source, teachers = begun.get("source", {}), begun.get("teachers", {})
    if merged := typed(store, "store merge"):
        return from_here(merged)  # its parts were extracted, and by that command they are again, but not this
    command = maker(source, teachers)
    if as_typed := typed_again(store, command):
        return from_here(as_typed)
    if command == "store import":
        imported = source["imported"]
        return f"distillkit store import {' '.join(map(as_word, (imported.get('kind'), imported.get('place'), store)))}"
    if command == "store merge" or "merged" in begun:
        return f"distillkit store merge {as_word(store)} PARTS"
    return f"distillkit {command} RECIPE" + (_WHICH if begun else "")


def typed_again(store: Path, command: str) -> str | None:
    """The last command of that kind that made anything of a store, where a log tells one; `embed` extracts, too."""
    return typed(store, command) or (typed(store, "embed") if command == "extract-teacher" else None)


def how_to_retry(store: Path) -> str | None:
    """The command that tries the failed samples of the store at `store` again; None where a teacher's pass did not make
    it as it stands, as of what was imported or merged.
    """
    if not is_extracted(store) or typed(store, "store merge"):
        return None
    if here := _CALLER.get():
        return f"{here.begin} --retry-failed"
    if as_typed := typed_again(store, "extract-teacher"):
        return from_here(by_one_process(as_typed, "--retry-failed"))
    return f"distillkit extract-teacher RECIPE --retry-failed{_WHICH}"


def is_extracted(store: Path) -> bool:
    """Whether a teacher's pass made the store, as far as its record tells."""
    begun = _begun(store / "plan.json") or _begun(store / "manifest.json") or {}
    return maker(begun.get("source", {}), begun.get("teachers", {})) == "extract-teacher" and "merged" not in begun


def _begun(path: Path) -> dict[str, Any] | None:
    """What a store's record says it was begun with; None where there is none that can be read."""
    try:
        value = parsed_json(path.read_bytes())
        _ = maker(value["source"], value["teachers"]), value["source"].get("imported", {}).get("kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return value
