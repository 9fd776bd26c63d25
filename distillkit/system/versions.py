"""The package versions that results depend on, as manifests and run folders record them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

PACKAGES = ("distillkit", "torch", "open_clip_torch", "timm", "torchvision", "pillow", "numpy", "zarr")


def versions() -> dict[str, str]:
    """Python and every package that touches pixels, tokens or features."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


def by_another(recorded: Mapping[str, str]) -> str:
    """A clause on who wrote a record that is not understood, where that was another distillkit; else nothing."""
    theirs, ours = recorded.get("distillkit"), _version("distillkit")
    return "" if theirs in (None, ours) else f"; distillkit {theirs} wrote it, this is {ours}: use that one"


_version = cache(version)  # each is a file to read, and every run, store and evaluation asks
