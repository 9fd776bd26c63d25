"""How the neighbours were mined that texts were chosen by, or that training drew texts by."""

from __future__ import annotations

import os
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.store.format.log import MINED
from distillkit.store.format.maker import is_extracted
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.reading.additions import FOLDER
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Making, Selection, store_behind
from distillkit.system.atomic import parsed_json
from distillkit.system.lines import read_lines
from distillkit.system.paths import expand
from distillkit.system.retyped import retyped

Before = tuple[tuple[Path, str], ...]  # what must be there before, each with its digest

_CHOSEN = "selection.json"  # as select-texts writes beside a view
_FIRST = "# distillkit mine-neighbours RECIPE  (must be run before what follows; its command was not recorded"


def is_mined(path: Path) -> bool:
    """Whether it is the place of neighbours, also where they are gone: an addition to a store, but no teacher that an
    extraction added."""
    added = path.parent.name == FOLDER and (path.parent.parent / FILE_NAME).is_file()
    return added and not ((path / FILE_NAME).is_file() and is_extracted(path))


def now(path: Path) -> str:
    """The digest of the store or the view that lies there; empty where none does that can be read."""
    try:
        return Selection(path).digest if (path / VIEW).is_file() else Manifest.read(path).digest
    except StoreError:
        return ""


def mining(path: Path, digest: str) -> tuple[tuple[str, ...], Before]:
    """The commands that mined the neighbours of that digest at `path`, and the stores and views that they lie between.
    Of those that others have replaced nothing is left but that they were mined.
    """
    base = path.parent.parent
    lines = [line for line in read_lines(path / MINED) if "shard" in line] if digest and now(path) == digest else []
    commands = tuple(dict.fromkeys(str(line["command"]) for line in lines if line.get("command")))
    of = lines[-1].get("of") if lines else None
    places = of.items() if isinstance(of, dict) else ()
    before = tuple((Path(os.path.normpath(path / place)), str(made)) for place, made in places)
    return commands or (f"{_FIRST}; it made {path})",), before or ((base, now(base)),)


def chosen_by(path: Path, digest: str, how: Making) -> tuple[tuple[str, ...], Before]:
    """What the view at `path` was made of; of one by select-texts the neighbours, too, and where an older one tells
    none, a remark that it needs some.
    """
    chosen = (path / _CHOSEN).is_file() if how.command is None else retyped(how.command, "select-texts") is not None
    if not chosen or any(is_mined(place) for place, _ in how.of):
        return (), how.of
    facts = _selection(path)
    recipe = facts.get("recipe") if facts.get("digest") == digest else None
    if isinstance(recipe, dict) and all(isinstance(recipe.get(key), str) for key in ("images", "neighbours")):
        images = Path(expand(recipe["images"]))
        if now(images):
            mined = store_behind(images) / FOLDER / recipe["neighbours"]
            return (), (*how.of, (images, now(images)), (mined, now(mined)))
    return (f"{_FIRST}; it mined what {path} was chosen by)",), how.of


def _selection(path: Path) -> dict[str, object]:
    """What select-texts wrote beside a view; nothing where it did not, or nobody can read it."""
    try:
        facts = parsed_json((path / _CHOSEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
