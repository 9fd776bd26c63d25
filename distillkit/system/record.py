"""Records in JSON that anybody may have changed, or a disk damaged: what is wrong with one is an error of its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distillkit.system.atomic import as_json, parsed_json, write_json

SEAL = "sha256"  # of a record, but for itself
Damaged = Callable[[str], Exception]  # of why, the error to raise


class Record(dict[str, Any]):
    """An object of such a file. A key that is not there is told as damage of the file, not as a KeyError."""

    def __init__(self, told: Any = (), damaged: Damaged = KeyError):
        super().__init__(told)
        self._damaged = damaged

    def __missing__(self, key: str) -> Any:
        raise self._damaged(f"it has no {key!r}")


class Changed(ValueError):
    """Of a record whose checksum is another."""


def digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record, and the checksum of what it tells."""
    return {**record, SEAL: digest(record)}


def unsealed(content: bytes) -> tuple[dict[str, Any], bool]:
    """What a record tells, and whether it had a checksum, as those of older versions have none. ValueError where it is
    not as it was written.
    """
    value = parsed_json(content)
    seal = value.pop(SEAL, None) if isinstance(value, dict) else SEAL
    if seal is not None and seal != digest(value):
        raise Changed("not as it was written")
    return value, seal is not None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write it whole, or not at all, with its checksum."""
    write_json(path, sealed(parsed_json(as_json(record))))  # a key may be a number, which JSON orders as a text


def read_record(path: Path, damaged: Damaged) -> Record:
    """What a file tells, objects within it as well; `damaged` where it is no JSON, none of an object, or not as it was
    written. OSError where it cannot be read: that is no damage.
    """
    try:
        value, _ = unsealed(path.read_bytes())
    except Changed as error:
        raise damaged(f'{error}; if you changed it on purpose, delete its "{SEAL}"') from error
    except ValueError as error:
        raise damaged(f"{error!r:.80}") from error
    return of_object(value, damaged)


def of_object(value: Mapping[str, Any], damaged: Damaged) -> Record:
    """An object of parsed JSON, and those within it."""
    return Record({key: _within(one, damaged) for key, one in value.items()}, damaged)


def _within(value: Any, damaged: Damaged) -> Any:
    if isinstance(value, dict):
        return of_object(value, damaged)
    return [_within(one, damaged) for one in value] if isinstance(value, list) else value
