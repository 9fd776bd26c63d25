"""What a store holds and what it is called there: its base and additions, their fields, teachers and views.

Nothing here reads a row; `reader` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import local
from distillkit.store.format.classes import classes_of
from distillkit.store.format.field import PARAMETERS, Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.sameness import other_teacher
from distillkit.store.reading.additions import FOLDER, additions
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.store.reading.volume import Volume, mark_of
from distillkit.system.record import digest
from distillkit.system.wording import network


@dataclass(frozen=True)
class Views:
    """How many views of each image a store has, and the columns of its "views/parameters"; none if it stores none."""

    count: int
    columns: tuple[str, ...]


class Contents:
    """What lies at a path or a URL. What `teacher` and `uses` choose, see FeatureStore.

    Of a view of a store, the contents are the store's.
    """

    def __init__(self, path: str | Path, teacher: str | None = None, uses: Iterable[str] = ()):
        self.path, self.alias = local(path), teacher
        self.selection = Selection(self.path) if (self.path / VIEW).is_file() else None
        home = self.selection.store if self.selection else self.path
        mark = mark_of(home)  # before it is read: who takes its place meanwhile is found out
        self.manifest = self.selection.manifest() if self.selection else Manifest.read(home)
        added = additions(home, self.manifest)
        self.base = Volume(home, self.manifest, mark)
        self.added = {name: Volume(home / FOLDER / name, manifest) for name, manifest in added.items()}
        volumes = [self.base, *self.added.values()]
        self._homes: dict[str, Volume] = {}
        for volume in volumes:
            for name in volume.manifest.fields:
                self._homes.setdefault(name, volume)
        self.fields = {name: volume.manifest.fields[name] for name, volume in self._homes.items()}
        self.teachers = {alias: facts for volume in volumes for alias, facts in volume.manifest.teachers.items()}
        if teacher not in (None, *self.said_by):
            near = get_close_matches(str(teacher), self.said_by, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise StoreError(f"{self.path}: no teacher {teacher!r}; it has: {', '.join(self.said_by)}{hint}")
        self.uses = tuple(uses)
        for name in self.uses:
            if name not in self.added:
                raise StoreError(f"{self.path}: no addition {name!r}; it has: {', '.join(self.added) or 'none'}")

    def __len__(self) -> int:
        """Planned rows, failed ones included: row numbers run from 0 to here."""
        return self.manifest.rows

    def field_name(self, name: str) -> str:
        """The full name of a field: "image" is enough where one teacher is meant, or only one gave an image field.

        What was added later never changes which field a short name means.
        """
        if name in self.fields:
            return name
        meant = [full for full, field in self.fields.items() if self.alias in (None, field.teacher)]
        found = [full for full in meant if name == full.split("/")[1]]
        found = [full for full in found if full in self.manifest.fields] or found
        if len(found) == 1:
            return found[0]
        problem = "no field" if not found else f"several fields ({', '.join(found)}) for"
        raise StoreError(f"{self.path}: {problem} {name!r}; it has: {', '.join(self.fields)}")

    @property
    def own_fields(self) -> dict[str, Field]:
        """By short name, what the teacher that is meant gave; without one, what the base has."""
        meant = self.manifest.fields if self.alias is None else self.fields
        return {full.split("/")[1]: field for full, field in meant.items() if self.alias in (None, field.teacher)}

    @property
    def said_by(self) -> list[str]:
        """Those of `teachers` that are networks: neighbours are recorded there, too, and nobody learns from them."""
        return [alias for alias, facts in self.teachers.items() if facts.get("kind") != "mined"]

    @property
    def feature_names(self) -> list[str]:
        """The full names of all that a network said: neither row numbers nor small facts nor parameters of views."""
        facts = ("int32", "uint8")
        return [name for name, field in self.fields.items() if field.dtype not in facts and name != PARAMETERS]

    def field(self, name: str) -> Field:
        """Teacher, row shape and dtype of a field."""
        return self.fields[self.field_name(name)]

    def teacher(self, name: str) -> dict[str, Any]:
        """The fingerprint of the teacher that made a field."""
        return self.teachers[self.field(name).teacher]

    @property
    def views(self) -> Views:
        """How many views a row of a per-view field has, and what "views/parameters" says of each."""
        return Views(self.manifest.views.get("count", 1), tuple(self.manifest.views.get("columns", ())))

    @property
    def digest(self) -> str:
        """What names this store elsewhere: the digest of its manifest, with those of the additions it relies on."""
        used = {name: volume.manifest.digest for name, volume in self.used.items()}
        base = self.selection.digest if self.selection else self.manifest.digest
        return digest({"base": base, "added": used}) if used else base

    @cached_property
    def used(self) -> dict[str, Volume]:
        """The additions that this store relies on."""
        meant = {name for name, volume in self.added.items() if self.alias in volume.manifest.teachers}
        return {name: volume for name, volume in self.added.items() if name in meant or name in self.uses}

    @property
    def class_numbers(self) -> dict[str, int]:
        """By name, the number of each class; empty where its source did not number classes by their names."""
        return classes_of(self.selection.store if self.selection else self.path)

    @property
    def root(self) -> Path | None:
        """The folder below which the store's images lie."""
        root = self.manifest.source["root"]
        return None if root is None else Path(root)


def refuse_other_teacher(first: Contents, first_field: str, second: Contents, second_field: str) -> None:
    """StoreError unless both fields were made by the same teacher; both values are named."""
    told = other_teacher(first.teacher(first_field), speaks := second.teacher(second_field))
    if told and len(first.said_by) > 1:  # one of several was chosen, so that another one may be
        alias = first.field(first_field).teacher
        same = [one for one in first.said_by if one != alias and not other_teacher(first.teachers[one], speaks)]
        learn = f", or learn from {same[0]} (data.teacher, --teacher)" if same else ""
        raise StoreError(
            f"{second.path}: has features of {speaks.get('kind')} {network(str(speaks.get('model')))}, not of {alias} "
            f"({told}); name a store with features of {alias} in its place, or leave it out{learn}"
        )
    if told:
        raise StoreError(
            f"{first.path} and {second.path} were made by different teachers ({told}); extract both with one teacher"
        )
