"""What the log of a merged store takes along from its parts, so that it tells how to make all of it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distillkit.store.format.log import FILE_NAME, logged, put_together, taken_along
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import store_behind
from distillkit.system.lines import read_lines

Line = dict[str, Any]


def lines_of_stores(out: Path, stores: list[FeatureStore], command: str | None) -> list[Line]:
    """The lines of the log of `out`: of each part what it told, then the merge's own."""
    lines: list[Line] = []
    for store in stores:
        place = store_behind(store.path)
        lines += [{"from": _from(out, place), "line": line} for line in _told(place)]
        lines += [{"from": _from(out, store.path), "line": line} for line in _view(store)]
    own = {"merged": len(stores), "of": {_from(out, store.path): store.digest for store in stores}}
    return [*lines, own | _typed(command)]


def lines_of_parts(folders: dict[int, Path], count: int, command: str | None) -> list[Line]:
    """The same of the parts of one extraction. Its shards are those of the parts, and so are the lines of them;
    `folders`: which each shard was taken from, and `count` how many parts there are.
    """
    told = {folder: logged(folder) for folder in dict.fromkeys(folders.values())}
    lines = [line for folder, lines in told.items() for line in lines if folders.get(_shard(line)) == folder]
    return [*sorted(lines, key=_shard), {"merged": count} | _typed(command)]


def _told(place: Path) -> list[Line]:
    """All that a store tells of how it was made, also of what it was merged from in its turn."""
    own = put_together(place)
    # A shard that was made twice by two commands was made by both, but the time that the first took is not counted.
    lost = [{"command": line["command"]} for line in read_lines(place / FILE_NAME) if _computed(line)]
    kept = logged(place)
    first = [line for line in lost if all(line["command"] != one.get("command") for one in kept)]
    return [*taken_along(place), *first, *kept, *([own] if own else [])]


def _computed(line: Line) -> bool:
    return ("shard" in line or "more_of" in line) and bool(line.get("command"))


def _view(store: FeatureStore) -> list[Line]:
    """Of a view the command that made it, where it is known."""
    command = store.selection.command if store.selection else None
    return [{"view": store.digest, "command": command}] if command else []


def _shard(line: Line) -> int:
    """-1, which none is, where a log that anybody may have written says no whole number."""
    number = line["shard"] if "shard" in line else line["more_of"]
    return number if isinstance(number, int) else -1


def _from(out: Path, place: Path) -> str:
    return os.path.relpath(place.absolute(), out.absolute())


def _typed(command: str | None) -> Line:
    return {"command": command} if command else {}
