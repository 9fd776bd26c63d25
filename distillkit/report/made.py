"""How the views and the merged stores of a run were made: also those that they were made of, each once and before
what needs it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.report.mined import Before, chosen_by, is_mined, mining, now
from distillkit.store.bucket.remote import shown
from distillkit.store.format.log import put_together
from distillkit.store.format.maker import how_again, is_extracted
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import ROWS, Selection, making, store_behind

Commands = tuple[str, ...]


def made(
    stores: Sequence[Path],
    views: Sequence[Selection],
    mined: Sequence[Path] = (),
    old: Mapping[Path, str] | None = None,
) -> tuple[list[str], list[Path]]:
    """The commands that made `views`, the `mined` neighbours and those of `stores` that were merged or imported, and
    the stores at the beginnings of them all, as far as they are still there. `old`: the digests that views had which
    were made anew since; they are told as they were, or with a remark.
    """
    every: dict[tuple[Path, str], Commands] = {}
    for path, digest in [
        *((store, now(store)) for store in stores),
        *((view.path, view.digest) for view in in_order(views)),
        *((one, now(one)) for one in mined),
    ]:
        was = (old or {}).get(path, digest) if (path / VIEW).is_file() else digest
        meant = was if making(path, was).command else digest  # of then, where its command is known
        found = _chain(path, meant, every)
        if was != digest and (one := (path.absolute(), meant)) in found:
            found[one] = (_made_anew(path, of_then=meant == was), *found[one])
        every |= found
    places = [place for place, _ in every if not is_mined(place)]
    stores = [store_behind(place) for place in places if not (place / VIEW).is_file() or _opened(place)]
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
    if (path / FILE_NAME).is_file():
        return _put_together(path)
    how = making(path, digest)
    unmined, before = chosen_by(path, digest, how)
    command = how.command or _unknown(path, digest)
    return (*unmined, *([command] if command else [])), before


def _made_anew(path: Path, *, of_then: bool) -> str:
    """A remark before the command of a view that is another one by now than in training."""
    if of_then:
        return f"# {path} was made anew after this training; what follows made its rows of then"
    return (
        f"# {path} was made anew after this training, and how before was not recorded; what follows made today's rows"
    )


def _put_together(path: Path) -> tuple[Commands, Before]:
    """Of a store: what merged or imported it, nothing where a teacher's pass made it. What it was merged of is told
    only where that still lies there as it was: its own log has taken along how they were made.
    """
    line = put_together(path)
    if line is None:
        again = "" if is_extracted(path) else f"# {how_again(path)}  (its command was not recorded; it made {path})"
        return ((again,) if again else ()), ()
    told = line.get("of")
    places = told.items() if isinstance(told, dict) else ()
    of = ((Path(os.path.normpath(path / place)), str(digest)) for place, digest in places)
    command = line.get("command") or f"# {how_again(path)}  (run from Python; its command was not recorded)"
    return (command,), tuple((place, digest) for place, digest in of if now(place) == digest)


def _opened(path: Path) -> Selection | None:
    try:
        return Selection(path)
    except StoreError:
        return None


def _unknown(path: Path, digest: str) -> str:
    """Of a view whose command nobody recorded, what is known all the same."""
    if (path / VIEW).is_file() and now(path) not in ("", digest):
        return f"# {path} was made here  (another view lies there by now, and how this one was made was not recorded)"
    if (path / "selection.json").is_file():
        return f"# distillkit select-texts RECIPE  (its command was not recorded; it made {path})"
    view = _opened(path) if (path / VIEW).is_file() else None
    if view is None:
        return f"# {path} was made here  (it is gone, and how it was made was not recorded)"
    command = shlex.join(["distillkit", "store", "view", shown(view.store), str(path)])
    return f"# {command} --keys FILE  (how it was made was not recorded; its rows are in {path / ROWS})"
