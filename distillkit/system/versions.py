"""The package versions that results depend on, as manifests and run folders record them."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

PACKAGES = ("distillkit", "torch", "open_clip_torch", "timm", "torchvision", "pillow", "numpy", "zarr")


def versions() -> dict[str, str]:
    """Python and every package that touches pixels, tokens or features."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


_version = cache(version)  # each is a file to read, and every run, store and evaluation asks
