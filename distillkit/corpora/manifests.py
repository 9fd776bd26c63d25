"""data_manifests/*.toml, read once: what is known of each corpus, and where it is known from."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

from distillkit.errors import SourceError
from distillkit.system.paths import data_manifests

Table = dict[str, Any]


def names() -> list[str]:
    """The corpora that there is a manifest of."""
    return sorted(path.stem for path in data_manifests().glob("*.toml"))


@cache
def load(name: str) -> Table:
    """A manifest. The files are ours and committed, so a missing key is a bug and keeps its traceback."""
    if name not in names():
        raise SourceError(f"no corpus {name!r} is known here; there are: {', '.join(names())}")
    return tomllib.loads((data_manifests() / f"{name}.toml").read_text("utf-8"))
