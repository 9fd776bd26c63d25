"""A recipe of somebody else's, looked at before anything that it names is imported, opened or fetched.

Every text of it is shown, whatever its key: which knobs are places only the code of a kind knows, and nobody asks that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.recipe.load import content_of, extended
from distillkit.recipe.registry import ROOMS, kinds

_BARE = re.compile(r"[A-Za-z0-9_-]+")
# What is a place by its look: an address, a path, a name with a scheme (hf-hub:, run:), a pattern of files.
_PLACE = re.compile(r"[/\\~$:*]|^\.")


def shown(path: Path) -> Iterator[str]:
    """What to look at, a line each: code of others that it would run, places it would read, write or fetch from.

    "place" is a text that looks like one; "text" is any other, which may be a file or folder as well. Texts that are
    left out: distillkit's own kinds. RecipeError where it is no TOML.
    """
    said = list(_values(content_of(path), ""))
    own = {kind for room in ROOMS for kind in kinds(room)}
    outside = {value for key, value in said if _last(key) == "kind" and ":" in value}
    if not outside:
        yield "imports  nothing but distillkit's own kinds, by what it says itself"
    for kind in sorted(outside):
        yield f"imports  {kind.partition(':')[0]!r} for kind {kind!r}: code that runs with your rights"
    yield from _further(said)
    texts = [(key, value) for key, value in said if not (_last(key) == "kind" and value in outside | own)]
    texts = [("extends", value) for value in extended(path)] + texts
    for key, value in texts:
        if _PLACE.search(value):
            yield f"place    {key} = {value!r}"
    for key, value in texts:
        if not _PLACE.search(value):
            yield f"text     {key} = {value!r}"
    yield "note     a text, too, can be the name of a file, a folder or a model: each kind knows its own"


def _further(said: list[tuple[str, str]]) -> Iterator[str]:
    """What is imported because a place says so, not the recipe: it is read when the recipe is at work."""
    runs = [key.rpartition(".")[0] for key, value in said if _last(key) == "kind" and value == "run"]
    for key in [*runs, *(key for key, value in said if value.startswith("run:"))]:
        yield f"imports  whatever the recipe.json of the run of {key} names: look at it as at this"
    yield (
        "imports  and reads what a store, view or run among the texts below says in its turn, in its manifest.json "
        "(source in: distillkit store info STORE), view.json or recipe.json"
    )


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _values(content: Any, at: str) -> Iterator[tuple[str, str]]:
    """Every text of a recipe, by its key; a key that is no plain word is quoted, for it may hold anything."""
    if isinstance(content, dict):
        for key, value in content.items():
            word = key if _BARE.fullmatch(key) else repr(key)
            yield from _values(value, f"{at}.{word}" if at else word)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _values(value, f"{at}.{number}")
    elif isinstance(content, str):
        yield at, content
