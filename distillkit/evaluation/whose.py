"""What the files of an eval are called: by its name, and never as those of another one.

Several names make one file name ("near it", "near-it"), and to some disks "A" and "a" are one. Whoever comes first has
the plain file name, as older versions gave it; whoever comes later has it with a mark of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from distillkit.evaluation.asked import slug_of
from distillkit.evaluation.rows import is_rows, name_in
from distillkit.system.atomic import parsed_json


def stem_of(folder: Path, name: str) -> str:
    """What the files of the eval of that name are called in `folder`, before the first dot that is no part of it."""
    plain, marked = slug_of(name), _marked(name)
    for stem in (plain, marked):
        if any(_whose(folder / f"{stem}{kind}") == name for kind in (".json", ".arrow")):
            return stem
    return marked if _is_taken(folder, plain, name) else plain


def file_names(names: Iterable[str]) -> dict[str, str]:
    """By name what its file is called; of those that would be called alike, each but the first has a mark."""
    made: dict[str, str] = {}
    for name in names:
        taken = {one.casefold() for one in made.values()}
        made[name] = _marked(name) if slug_of(name).casefold() in taken else slug_of(name)
    return made


def _is_taken(folder: Path, stem: str, name: str) -> bool:
    """Whether files that begin like it are another's, in whatever case, or would not be known from a list of names."""
    if not is_rows(folder / f"{stem}.arrow"):
        return True
    start = f"{stem}.".casefold()
    near = [file for file in folder.glob("*.*") if file.name.casefold().startswith(start)]
    return any(_whose(file) not in (None, name) for file in near)


def _whose(path: Path) -> str | None:
    """The name of the eval whose answers a file holds; None where it is none, or damaged, and is written anew."""
    try:
        if path.suffix == ".json":
            return str(parsed_json(path.read_bytes())["name"])
        return name_in(path) if path.suffix == ".arrow" and is_rows(path) else None
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _marked(name: str) -> str:
    return f"{slug_of(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
