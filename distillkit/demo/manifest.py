"""data_manifests/demo.toml, read once, and where the packages it names are installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from distillkit.errors import MissingExtra
from distillkit.paths import data_manifest

Table = dict[str, Any]


@cache
def load() -> Table:
    """The manifest. The file is ours and committed, so a missing key is a bug and keeps its traceback."""
    return tomllib.loads(data_manifest("demo.toml").read_text("utf-8"))


def ingredients() -> dict[str, Table]:
    """The tables that name a package: {"images": {...}, "names": {...}, ...}."""
    return {name: table for name, table in load().items() if isinstance(table, dict) and "package" in table}


def package_folder(ingredient: str) -> Path:
    """Where an ingredient's package lies, found without importing it; MissingExtra when it is not installed."""
    table = load()[ingredient]
    spec = importlib.util.find_spec(table["module"])
    if spec is None or spec.origin is None:
        raise MissingExtra(table["package"], "demo")
    return Path(spec.origin).parent


def versions() -> dict[str, str]:
    """{package: installed version} of every ingredient; MissingExtra for the first that is not there."""
    found = {}
    for table in ingredients().values():
        try:
            found[table["package"]] = importlib.metadata.version(table["package"])
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingExtra(table["package"], "demo") from error
    return found


def fingerprint(*, quick: bool) -> str:
    """A digest of everything a prepared folder depends on: manifest, unseen list, package versions, size."""
    parts = {
        "manifest": load(),
        "unseen": data_manifest(load()["names"]["unseen_list"]).read_text("utf-8"),
        "versions": versions(),
        "quick": quick,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
