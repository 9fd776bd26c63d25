"""The log of an extraction, which travels with a store: for people, no part of it, covered by no checksum."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillkit.system.atomic import noticing_a_full_disk
from distillkit.system.lines import append_line, read_lines, settle
from distillkit.system.retyped import retyped

FILE_NAME = "extract.jsonl"
MINED = "mine.jsonl"  # of mined neighbours


def logged(store: Path) -> list[dict[str, Any]]:
    """What was told of each shard when it was made, last, and of rows that were appended to it since (`more_of`, the
    first ones `behind` so many; older logs do not tell that).

    A kill can leave half a line, or lines of what was not kept then.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    for line in read_lines(store / FILE_NAME):
        if "shard" in line:  # one that was made twice counts as what was kept: the later one
            found[line["shard"]] = [line]
        elif "more_of" in line:
            before = found.setdefault(line["more_of"], [])
            behind = line.get("behind")
            before[:] = [one for one in before if behind is None or one.get("behind") != behind] + [line]
    return [line for lines in found.values() for line in lines]


def note_shard(store: Path, line: dict[str, Any], log: str = FILE_NAME) -> None:
    """Write down, durably, what is told of a shard that is about to be committed: what it tells goes into the manifest
    or into reports, and who finds the commit never makes that shard again.
    """
    append_line(store / log, line)
    with noticing_a_full_disk(store / log):
        settle(store / log)  # its name is durable when the first shard's folders are made, beside it


def note_command(store: Path, command: str | None) -> None:
    """Write down who begins or goes on with a store, once, before any shard is there to tell it."""
    if command and all(line.get("command") != command for line in read_lines(store / FILE_NAME)):
        append_line(store / FILE_NAME, {"command": command})


def note(store: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write down those of `lines` that are not there yet: whoever goes on with a store tells the same again."""
    there = {json.dumps(line) for line in read_lines(store / FILE_NAME)}
    for line in lines:
        if (told := json.dumps(line)) not in there:
            append_line(store / FILE_NAME, line)
            there.add(told)


def taken_along(store: Path) -> list[dict[str, Any]]:
    """What the stores that a merged store was made of told of how they were made."""
    return [line["line"] for line in read_lines(store / FILE_NAME) if isinstance(line.get("line"), dict)]


def put_together(store: Path) -> dict[str, Any] | None:
    """How a store was merged or imported, last: its `command`, and `of` which stores and views, by place and digest."""
    return next((line for line in reversed(read_lines(store / FILE_NAME)) if {"merged", "imported"} & set(line)), None)


def commands(store: Path) -> list[str]:
    """Every command that computed rows of a store, each once and in order: also of a shard that a later one did anew,
    as that one alone makes no store. Of a merged store those that made its parts, but not the merge.
    """
    own = [line for line in read_lines(store / FILE_NAME) if "shard" in line or "more_of" in line]
    return list(dict.fromkeys(line["command"] for line in [*taken_along(store), *own] if line.get("command")))


def typed(store: Path, kind: str) -> str | None:
    """The last command of that kind, such as "extract-teacher", that made anything of a store, to be typed again; None
    where no log tells one.
    """
    lines = [line for name in (FILE_NAME, MINED) for line in read_lines(store / name)]
    again = (retyped(line.get("command"), kind) for line in reversed(lines))
    return next((command for command in again if command), None)


def planned(store: Path) -> str | None:
    """What was told of the corpus when it was planned, last."""
    return next((line["planned"] for line in reversed(read_lines(store / FILE_NAME)) if "planned" in line), None)


def mined_of(addition: Path) -> Path | None:
    """The store, or the view of one, whose rows mining asked about last; None where no log tells."""
    told = [line["of"] for line in read_lines(addition / MINED) if isinstance(line.get("of"), dict) and line["of"]]
    return Path(os.path.normpath(addition / next(iter(told[-1])))) if told else None


def unasked(addition: Path) -> int:
    """Rows of which mining asked nothing, as they are outside of its view; 0 where that was not told yet."""
    told = {line["shard"]: line.get("unasked", 0) for line in read_lines(addition / MINED) if "shard" in line}
    return sum(told.values())
