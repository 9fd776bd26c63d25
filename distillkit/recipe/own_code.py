"""A user's own classes that a recipe names, `kind = "my_pkg.mod:MyLoss"`: which file each is in, to tell an edit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any


def own_code(recipe: Any) -> dict[str, str]:
    """sha256 of the file that holds each such class, by its kind, wherever in `recipe` (tables and lists) it is named.

    Of classes that were imported and lie in a file; what that file imports in turn is not looked at.
    """
    found = {}
    for kind in _kinds(recipe):
        module, _, name = kind.partition(":")
        its = getattr(getattr(sys.modules.get(module), name, None), "__module__", None)
        file = getattr(sys.modules.get(its or ""), "__file__", None)
        if file and Path(file).is_file():
            found[kind] = sha256(Path(file).read_bytes()).hexdigest()
    return found


def _kinds(table: Any) -> Iterator[str]:
    if isinstance(table, dict):
        kind = table.get("kind")
        yield from [kind] if isinstance(kind, str) and ":" in kind else []
        table = table.values()
    if not isinstance(table, str | int | float | None):
        for one in table:
            yield from _kinds(one)
