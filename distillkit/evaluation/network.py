"""Which weights are measured, and with what they are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillkit.callable import Say
from distillkit.evaluation.embed import Pace
from distillkit.evaluation.features import Features
from distillkit.recipe import TrainRecipe
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.system.device import device_of

_HALF = "+autocast"


def network_of(run: RunFolder, recipe: TrainRecipe) -> str:
    """What names the student of a finished run in what is kept of it: its weights, and whether they run in half."""
    sha256 = file_digest(run.path / "student.safetensors").sha256
    return f"{sha256}{_HALF}" if recipe.evaluation.autocast else sha256


def precision_of(network: str) -> dict[str, Any]:
    """With what weights that are called so were run, as one more thing that their answers are made of."""
    return {"precision": {"evaluation.autocast": True}} if network.endswith(_HALF) else {}


def pace_of(recipe: TrainRecipe, say: Say) -> Pace:
    """Device, threads and batches as the recipe has them."""
    asked = recipe.evaluation
    threads = asked.workers or recipe.data.threads
    return Pace(device_of(recipe.device), threads, asked.batch_size, asked.autocast, say)


def embedding(folder: Path, network: str) -> Features:
    """Where what a network said of images is kept."""
    return Features(folder / "features", network)
