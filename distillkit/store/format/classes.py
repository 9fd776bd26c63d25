"""Which number each class of a corpus has, by name: kept, so that a class that comes later moves none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from distillkit.store.format.checksums import as_written
from distillkit.system.atomic import parsed_json, write_json

FILE_NAME = "classes.json"


def write_classes(store: Path, table: Mapping[str, int]) -> None:
    """In place of what was there."""
    if table != classes_of(store):
        write_json(store / FILE_NAME, dict(table), within=store)


def classes_of(store: Path) -> dict[str, int]:
    """Name to number; empty where a store has no classes, or is older than this file, or the file is damaged: not what
    checksums.json says of it, where that is as young.

    A disk that does not answer raises: to go on without the table would number classes anew.
    """
    try:
        content = (store / FILE_NAME).read_bytes()
        table = parsed_json(content) if as_written(store, FILE_NAME, content) else None
    except (FileNotFoundError, ValueError):
        return {}
    if isinstance(table, dict) and all(type(number) is int for number in table.values()):
        return table
    return {}
