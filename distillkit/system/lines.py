"""Logs for people: a line of JSON each time, added while work goes on.

A kill or a power cut may leave half a line, so what is read back are whole ones; what must outlive a power cut is
settled before anything relies on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from distillkit.errors import DistillkitError
from distillkit.system.atomic import atomic_file, noticing_a_full_disk, parsed_json, sync
from distillkit.system.record import of_object

Line = dict[str, Any]


def append_line(path: Path, value: Line) -> None:
    """Add `value` to a log as one line of JSON. DiskFull when there is no space for it."""
    with noticing_a_full_disk(path), path.open("ab+") as file:
        line = (json.dumps(value) + "\n").encode()
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
            line = b"\n" + line  # behind half a line
        file.write(line)


def read_lines(path: Path) -> list[Line]:
    """The lines of a log that are whole; none where there is no log. What one of them lacks is an error of the log."""
    found = map(_parsed, path.read_bytes().splitlines() if path.is_file() else [])
    damaged = partial(log_damaged, path)
    return [of_object(line, damaged) for line in found if line is not None]


def keep_lines(path: Path, wanted: Callable[[Line], bool]) -> None:
    """Drop all other lines of a log, and halves."""
    if path.is_file():
        kept = [line for line in read_lines(path) if wanted(line)]
        with atomic_file(path) as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in kept).encode())


def settle(path: Path) -> None:
    """Make durable what a log has by now, if there is one; its name becomes so with the next file of its folder."""
    if path.is_file():
        sync(path)


def log_damaged(path: Path, why: str) -> DistillkitError:
    return DistillkitError(f"{path}: damaged ({why} in a line); move it away; what this log recorded is then lost")


def _parsed(line: bytes) -> Line | None:
    try:
        value = parsed_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
