"""What was added to a store after it was made: more teachers, mined neighbours, each a store in `added/<name>`.

An addition has the plan of its base, row for row, so its fields are read with the base's row numbers; nothing of the
base is touched when one comes or goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.system.atomic import SET_ASIDE
from distillkit.system.wording import count

FOLDER = "added"
# Of an identity, what an addition has in common with its base.
ROWS = ("version", "rows", "plan", "source", "views")


def additions(store: Path, base: Manifest) -> dict[str, Manifest]:
    """The complete additions of the store at `store`, by name; StoreError for one that does not belong to it."""
    folders = (path.parent for path in sorted((store / FOLDER).glob(f"*/{FILE_NAME}")))
    found = {folder.name: folder for folder in folders if SET_ASIDE not in folder.name}
    if found and base.version == 1:
        raise StoreError(f"{store}: of format version 1, which has no additions; extract it anew to add to it")
    made = {name: Manifest.read(path) for name, path in found.items()}
    owners = dict.fromkeys(base.teachers, store)
    for name, manifest in made.items():
        _check(found[name], manifest, store, base)
        for alias in manifest.teachers:
            if alias in owners:
                raise StoreError(
                    f"{found[name]}: adds teacher {alias!r}, which {owners[alias]} has; move one of them away"
                )
            owners[alias] = found[name]
    return made


def _check(path: Path, manifest: Manifest, store: Path, base: Manifest) -> None:
    if (manifest.rows, manifest.source["plan"]) != (base.rows, base.source["plan"]):
        raise StoreError(
            f"{path}: made for another plan ({count(manifest.rows, 'row')}, "
            f"{str(manifest.source['plan'])[:16]}) than {store} "
            f"({count(base.rows, 'row')}, {str(base.source['plan'])[:16]}); make the addition again"
        )
    if any(field.per_view for field in manifest.fields.values()) and manifest.views != base.views:
        raise StoreError(f"{path}: its views are not the ones of {store}; make the addition again, with the same views")


def teachers_to_add(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The teachers of identity `now` that a finished store of identity `before` lacks, if the rest of it may stay.

    It may when rows and views are the same, and so is everything said of the teachers that both have.
    """
    new = [alias for alias in now["teachers"] if alias not in before["teachers"]]
    same = all(before.get(key) == now.get(key) for key in ROWS)
    if len(new) < len(now["teachers"]):
        kept = {
            "teachers": {alias: facts for alias, facts in now["teachers"].items() if alias not in new},
            "fields": {name: field for name, field in now["fields"].items() if field["teacher"] not in new},
            "rows_per_shard": before["rows_per_shard"],
        }
        same = {**now, **kept} == before
    return new if same else []
