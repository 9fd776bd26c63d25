"""The machine that something was measured on: a time without it says little."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from distillkit.system.workers import cores

_FAISS = ("faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cu12-cuvs", "faiss-gpu-cu11", "faiss-cpu")


def machine(idle_gpu: bool = False) -> dict[str, Any]:
    """CPU name, cores this process may use, GPU name and FAISS (None without one), and system.

    A GPU is named where this process has used it: to ask for its name begins CUDA, which a run on the CPU must not,
    beside a card that is full or another's. `idle_gpu`: name it all the same.
    """
    used = torch.cuda.is_available() and (idle_gpu or torch.cuda.is_initialized())
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name() if used else None,
        "mining": search_library(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def search_library() -> str | None:
    """Which package of FAISS is here for mining, and its version."""
    return next(iter(search_libraries()), None)


def search_libraries() -> list[str]:
    """All of them: there should be one, as each brings the module `faiss`."""
    found = []
    for name in _FAISS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    """Linux keeps the name in /proc; elsewhere Python knows it, or at least the architecture."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text("latin-1").splitlines() if listing.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
