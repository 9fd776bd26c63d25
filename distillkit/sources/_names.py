"""Names of classes as they are compared: by what they say, not by the bytes that spell it."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import normalize

from distillkit.sources._places import printable

_SHOWN = 3


def same_form(name: str) -> str:
    """A name in the one Unicode form (NFC) that all are compared in: file systems and lists spell it in several."""
    return normalize("NFC", name)


def doubled(names: Iterable[str]) -> str:
    """Which classes have equal names, in words, by their labels from 0; empty where none have."""
    labels: dict[str, list[int]] = {}
    for label, name in enumerate(names):
        labels.setdefault(same_form(name), []).append(label)
    groups = [f"{printable(name)} ({', '.join(map(str, same))})" for name, same in labels.items() if len(same) > 1]
    if not groups:
        return ""
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return f"classes of equal names count as one: {', '.join(groups[:_SHOWN])}{more}"
