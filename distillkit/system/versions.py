"""The package versions that results depend on, as manifests and run folders record them."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("distillkit", "torch", "open_clip_torch", "timm", "torchvision", "pillow", "numpy", "zarr")


def versions() -> dict[str, str]:
    """Python and every package that touches pixels, tokens or features."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
