"""A recipe of somebody else's, looked at before anything that it names is imported, opened or fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.recipe.load import content_of

# Knobs whose values name what is read or written, besides those that look like an address.
_PLACES = (
    "out",
    "root",
    "roots",
    "file",
    "images",
    "texts",
    "store",
    "stores",
    "queries",
    "corpus",
    "model",
    "weights",
    "inherit",
)


def shown(path: Path) -> Iterator[str]:
    """What to look at, a line each: code of others that it would run, places it would read, write or fetch from.

    RecipeError where it is no TOML.
    """
    said = list(_values(content_of(path), ""))
    outside = {value for key, value in said if key.rpartition(".")[2] == "kind" and ":" in value}
    if not outside:
        yield "imports  nothing but distillkit's own kinds"
    for kind in sorted(outside):
        yield f"imports  {kind.partition(':')[0]!r} for kind {kind!r}: code that runs with your rights"
    for key, value in said:
        if "://" in value or value.startswith(("hf-hub:", "run:", "local-dir:")) or key.split(".")[-1] in _PLACES:
            yield f"place    {key} = {value!r}"


def _values(content: Any, at: str) -> Iterator[tuple[str, str]]:
    """Every text of a recipe, by its key."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _values(value, f"{at}.{key}" if at else key)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _values(value, f"{at}.{number}")
    elif isinstance(content, str):
        yield at, content
