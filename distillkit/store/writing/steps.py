"""The steps of int8 fields, as they were written when a store was begun: long before its manifest tells of them.

steps.json   the size and sha256 of each file of steps, and the sha256 of all that it tells; no part of the store, and
             absent from older ones, whose steps nothing tells of until they are complete
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.format.field import Field
from distillkit.store.format.layout import steps_path
from distillkit.store.format.manifest import File, Manifest, file_digest, readable
from distillkit.store.format.steps import Steps, damaged, steps_of
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.record import sealed, unsealed

FILE_NAME = "steps.json"


def record(steps: Mapping[str, Steps]) -> dict[str, Any]:
    """What steps.json tells of these."""
    return record_of({steps_path(name): _file(one) for name, one in steps.items()})


def record_of(files: Mapping[str, File]) -> dict[str, Any]:
    """The same, of their files."""
    return sealed({name: file.model_dump() for name, file in files.items()})


def as_begun(store: Path, fields: Mapping[str, Field]) -> dict[str, Steps]:
    """Those of every int8 field; StoreError where they are others than the store was begun with."""
    for name in lost(store, fields):
        raise damaged(store / steps_path(name))
    return steps_of(store, fields)


def lost(store: Path, fields: Mapping[str, Field]) -> list[str]:
    """The fields whose steps are gone, or others than the store was begun with, as far as anything tells of these."""
    return [name for name, want in _told(store, fields).items() if not _same(store / steps_path(name), want)]


def restored(
    store: Path, fields: Mapping[str, Field], steps: Mapping[str, Steps], ours: Callable[[], None]
) -> list[str]:
    """Write again what is lost of those that the store was begun with, if they are among these; returns which files.

    `ours` may refuse before one has its name.
    """
    told = _told(store, fields)
    again = [name for name in lost(store, fields) if name in steps and _file(steps[name]) == told[name]]
    for path in map(steps_path, again):
        make_folder((store / path).parent, store)
    for name in again:
        with atomic_file(store / steps_path(name), within=store) as file:
            file.write(steps[name].tobytes())
            ours()
    return [steps_path(name) for name in again]


def _told(store: Path, fields: Mapping[str, Field]) -> dict[str, File]:
    """By field, what the file of its steps must be."""
    path, names = store / FILE_NAME, [name for name, field in fields.items() if field.dtype == "int8"]
    if not names:
        return {}
    if not path.is_file():  # the store is older, and until it was complete nothing told
        files = Manifest.read(store).files if readable(store) else {}
        return {name: files[steps_path(name)] for name in names if steps_path(name) in files}
    try:
        said, whole = unsealed(path.read_bytes())
        if not whole:
            raise ValueError("its checksum is gone")
        return {name: File.model_validate(said[steps_path(name)]) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: not as it was written; delete it, and run the same command again: whether the steps of int8 "
            "fields are as they were is not looked at then"
        ) from error


def _same(path: Path, want: File) -> bool:
    return path.is_file() and file_digest(path) == want


def _file(steps: Steps) -> File:
    content = steps.tobytes()
    return File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
