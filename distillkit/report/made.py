"""How the views of a run were made: also those that they were made of, each once and before what needs it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.report.mined import Before, chosen_by, is_mined, mining, now
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import ROWS, Selection, home, making

Commands = tuple[str, ...]


def made(views: Sequence[Selection], mined: Sequence[Path] = ()) -> tuple[list[str], list[Path]]:
    """The commands that made `views` and the `mined` neighbours, and the stores at the beginnings of them all, as far
    as they are still there.
    """
    every: dict[tuple[Path, str], Commands] = {}
    for path, digest in [*((view.path, view.digest) for view in in_order(views)), *((one, now(one)) for one in mined)]:
        every |= _chain(path, digest, every)
    places = [place for place, _ in every if not is_mined(place)]
    stores = [home(place) for place in places if not (place / VIEW).is_file() or _opened(place)]
    there = dict.fromkeys(store.absolute() for store in stores if (store / FILE_NAME).is_file())
    return list(dict.fromkeys(command for commands in every.values() for command in commands)), list(there)


def in_order(views: Sequence[Selection]) -> list[Selection]:
    """As they were made: one may be of the rows that another lacks."""
    return sorted(views, key=lambda view: (view.path / VIEW).stat().st_mtime_ns)


def _chain(path: Path, digest: str, known: dict[tuple[Path, str], Commands]) -> dict[tuple[Path, str], Commands]:
    """By place and digest, the commands of each, none of a store; what is `known` is left out."""
    found: dict[tuple[Path, str], Commands] = {}

    def walk(path: Path, digest: str) -> Iterator[tuple[tuple[Path, str], Commands]]:
        one = (path.absolute(), digest)
        if one in known or one in found:
            return
        found[one] = ()  # so that a view that was made of itself ends here
        commands, before = mining(path, digest) if is_mined(path) else _making(path, digest)
        for place, seen in before:
            yield from walk(place, seen)
        yield one, commands

    return dict(walk(path, digest))


def _making(path: Path, digest: str) -> tuple[Commands, Before]:
    """Of a view or a store."""
    how = making(path, digest)
    unmined, before = chosen_by(path, digest, how)
    command = how.command or ("" if (path / FILE_NAME).is_file() else _unknown(path))
    return (*unmined, *([command] if command else [])), before


def _opened(path: Path) -> Selection | None:
    try:
        return Selection(path)
    except StoreError:
        return None


def _unknown(path: Path) -> str:
    """Of a view whose command nobody recorded, what is known all the same."""
    if (path / "selection.json").is_file():
        return f"# distillkit select-texts RECIPE  (its command was not recorded; it made {path})"
    view = _opened(path) if (path / VIEW).is_file() else None
    if view is None:
        return f"# {path} was made here  (it is gone, and how it was made was not recorded)"
    command = shlex.join(["distillkit", "store", "view", str(view.store), str(path)])
    return f"# {command} --keys FILE  (how it was made was not recorded; its rows are in {path / ROWS})"
