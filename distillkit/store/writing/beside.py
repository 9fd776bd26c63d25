"""A file beside the rows of a finished store, written anew: checksums.json speaks of it again when it is whole.

So whatever a power cut leaves is as checksums.json says: of a file in between it says nothing. Whoever is killed there
leaves it unsaid; what is written anew later is said again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from distillkit.store.format.checksums import FILE_NAME, said
from distillkit.store.format.classes import FILE_NAME as CLASSES
from distillkit.store.format.classes import classes_of, write_classes
from distillkit.store.format.manifest import file_digest
from distillkit.store.writing.claims import Claims
from distillkit.store.writing.home import home_of


def keep_classes(store: Path, table: Mapping[str, int]) -> None:
    """Of a store that is there, complete or not: which numbers its classes have by now, where there are others."""
    if table == classes_of(store):
        return
    with Claims(store) as claims, claims.beginning_or_end():
        written_anew(store, CLASSES, lambda: write_classes(store, table))


def written_anew(store: Path, name: str, write: Callable[[], object]) -> None:
    """`write` it; of one that has checksums, these first say nothing of it, and then what it is."""
    home = home_of(store)
    home.renew([FILE_NAME])
    before = said(store)
    if before is not None and name in before:
        home.prove(FILE_NAME, {key: file for key, file in before.items() if key != name}, _anybody)
    write()
    home.bring([name])
    if before is not None:
        home.prove(FILE_NAME, before | {name: file_digest(store / name).model_dump()}, _anybody)


def _anybody() -> None:
    """The store is there, and stays: nobody begins another one meanwhile."""
