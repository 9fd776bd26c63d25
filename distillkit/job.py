"""What an extraction is asked for: which teachers, which of their fields, of which corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.recipe import Corpus
from distillkit.store.additions import FOLDER
from distillkit.store.field import Field


@dataclass(frozen=True)
class Teacher:
    """A loaded network, and everything its features depend on."""

    network: Any
    fingerprint: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One corpus on its way to the store at `path`. `asked` names teacher and field, in the recipe's order."""

    path: Path
    corpus: Corpus
    teachers: Mapping[str, Teacher]
    asked: tuple[tuple[str, str], ...]
    decode_threads: int

    @cached_property
    def source(self) -> Any:
        return self.corpus.source.build("sources")

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The arrays of the store."""
        networks = {alias: self.teachers[alias].network for alias, _ in self.asked}
        return {
            f"{alias}/{name}": Field(
                teacher=alias,
                shape=networks[alias].fields[name],
                # What is no measurement, such as the numbers of classes, has a dtype of its own.
                dtype=getattr(networks[alias], "dtypes", {}).get(name, self.corpus.dtype),
            )
            for alias, name in self.asked
        }

    def beside(self, aliases: Sequence[str]) -> Job:
        """Only these teachers, as an addition to the store that all of them were asked for."""
        asked = tuple(pair for pair in self.asked if pair[0] in aliases)
        return replace(self, path=self.path / FOLDER / "+".join(aliases), asked=asked)

    @property
    def passes(self) -> dict[str, dict[str, list[str]]]:
        """What is shown, "image" or "text"; to which teachers; for which of their fields. In the recipe's order."""
        passes: dict[str, dict[str, list[str]]] = {}
        for alias, name in self.asked:
            passes.setdefault("text" if name == "text" else "image", {}).setdefault(alias, []).append(name)
        return passes

    def identity(self, duplicates: int) -> dict[str, Any]:
        """What the rows depend on, beside plan and fields."""
        return {
            "source": {
                "kind": self.corpus.source.kind,
                "knobs": self.corpus.source.knobs,
                "root": None if self.source.root is None else str(self.source.root),
                "duplicates": duplicates,
            },
            "teachers": {alias: self.teachers[alias].fingerprint for alias, _ in self.asked},
            "views": {"count": 1, "kind": "the teacher's own evaluation transform"},
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
    return tuple(asked)
