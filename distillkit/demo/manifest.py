"""data_manifests/demo.toml, and where the packages it names are installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path

from distillkit.corpora import manifests
from distillkit.corpora.manifests import Table
from distillkit.errors import MissingExtra
from distillkit.system.paths import data_manifests


def load() -> Table:
    """The manifest of the demo."""
    return manifests.load("demo")


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
    """A digest of everything a prepared folder depends on: manifest, lists of names, package versions, size."""
    lists = {which: load()["names"][which] for which in ("unseen_list", "validation_list")}
    parts = {
        "manifest": load(),
        "lists": {which: (data_manifests() / file).read_text("utf-8") for which, file in lists.items()},
        "versions": versions(),
        "quick": quick,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
