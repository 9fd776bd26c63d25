"""The recipes that come with distillkit, in a checkout or installed: found by name, and copied to where they are yours.

A recipe is called by its path below `pipelines/`, without ".toml": dime_fm, demo/dime_fm, extract/demo.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from distillkit.errors import RecipeError
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.paths import here, shipped_recipes

_NAMED = re.compile(r"pipelines/([\w/.-]+\.toml)")
_EXTENDS = re.compile(r'^extends\s*=\s*"([^"]+)"', re.MULTILINE)


def names() -> list[str]:
    """What every shipped recipe is called."""
    root = shipped_recipes()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.toml"))


def copy(name: str, to: str | Path = "pipelines") -> list[Path]:
    """Copy a recipe below `to`, at the path that it has below pipelines/, with those that it extends or names.

    Returns the copies, its own first. RecipeError for an unknown name, and where another file would be overwritten:
    then nothing was copied.
    """
    to = here(to)
    root, called = shipped_recipes(), name.removeprefix("pipelines/").removesuffix(".toml")
    if called not in names():
        near = difflib.get_close_matches(called, names(), n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "see: distillkit recipe list"
        raise RecipeError(f"{name}: no recipe that ships is called so; {hint}")
    wanted = [Path(f"{called}.toml")]
    for path in wanted:  # which grows
        wanted += [one for one in _needed(root, path) if one not in wanted]
    for path in wanted:
        there = to / path
        if there.exists() and (not there.is_file() or there.read_bytes() != (root / path).read_bytes()):
            raise RecipeError(
                f"{there}: is already there, with other content; name another folder after the recipe's name"
            )
    for path in wanted:
        make_folder((to / path).parent)
        with atomic_file(to / path) as file:
            file.write((root / path).read_bytes())
    return [to / path for path in wanted]


def _needed(root: Path, path: Path) -> list[Path]:
    """Those that a recipe begins with, and those whose commands its text names."""
    text = (root / path).read_text("utf-8")
    begun = [(root / path.parent / found).resolve().relative_to(root.resolve()) for found in _EXTENDS.findall(text)]
    return [*begun, *(Path(found) for found in _NAMED.findall(text) if (root / found).is_file())]
