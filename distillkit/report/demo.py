"""Whom to thank: where stores or teacher came from the prepared demo, its data manifest says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.corpora import manifests
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import cache_dir, expand
from distillkit.system.wording import network

_PLAIN = ("teacher", "model")
FOLDERS = ("demo", "demo-quick")  # below the cache folder, as distillkit/demo/prepare.py makes them


@dataclass(frozen=True)
class Credit:
    """One ingredient of the demo, as its manifest credits it."""

    name: str
    attribution: str
    licence: str
    url: str


def demo_folder(stores: list[FeatureStore]) -> Path | None:
    """The prepared demo, of either size, that any of these stores was made from; None when none was."""
    knobs = [value for store in stores for value in store.manifest.source["knobs"].values()]
    parents = {parent for value in knobs if isinstance(value, str) for parent in Path(expand(value)).parents}
    return next((cache_dir() / name for name in FOLDERS if cache_dir() / name in parents), None)


def demo_credits() -> list[Credit]:
    """Every ingredient of the demo that has an attribution."""
    return [
        Credit(table["name"], table["attribution"], table["licence"], table["url"])
        for table in _manifest().values()
        if isinstance(table, dict) and "attribution" in table
    ]


def teacher_name(model: str, folder: Path | None) -> str:
    """What to call a teacher: the demo's by its two towers, a folder by its last part, others by name and file."""
    scheme, _, name = model.rpartition(":")
    if scheme != "local-dir":
        return network(name)
    path = Path(expand(name))
    if folder is None or not path.is_relative_to(folder):
        # A folder that is called as every teacher is says nothing alone.
        return "/".join(path.parts[-2:]) if path.name.lower() in _PLAIN else path.name
    towers = _manifest()
    return " + ".join(towers[tower]["name"].partition(",")[0] for tower in ("image_tower", "text_tower"))


def _manifest() -> dict[str, Any]:
    return manifests.load("demo")
