"""What makes another student when it changes: a run goes on, or counts as finished, only where it is all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillkit.evals._labels import read_names
from distillkit.recipe import TrainRecipe
from distillkit.recipe.weights import Inherit, inherited
from distillkit.store.format.manifest import file_digest
from distillkit.system.paths import expand
from distillkit.system.record import digest
from distillkit.system.weights import FILE

# What may change without making another student.
_KEYS = ("name", "paper", "note", "out", "evals", "evaluation", "baseline", "checkpoints", "validation", "log", "ray")
_FREE: Any = dict.fromkeys(_KEYS, True) | {
    "data": dict.fromkeys(("workers", "prefetch", "memory", "render", "expect", "root", "roots"), True)
    | {"mix": {"__all__": {"root"}}},
    "optim": {"shard"},
}
NAMES = "class_names_sha256"


def identity(
    recipe: TrainRecipe, stores: dict[str, str], inherited: str | None = None, class_names: str | None = None
) -> dict[str, Any]:
    """The recipe's knobs, the stores' digests, the weights taken over, and the names that captions are classes by."""
    made_of = {"recipe": recipe.model_dump(exclude=_FREE, mode="json"), "stores": stores}
    return made_of | ({"inherited": inherited} if inherited else {}) | ({NAMES: class_names} if class_names else {})


def inherited_sha256(inherit: Inherit | None) -> str | None:
    """Of the weights behind a student's `inherit`: a run's, a folder's, a file's. None where they are not at hand, or
    where a published name says which they are.
    """
    name = inherited(inherit)
    scheme, found, place = (name or "").partition(":")
    if not found:
        path = Path(expand((name or "").partition("/")[2]))
        return file_digest(path).sha256 if path.is_file() else None
    names = {"run": [FILE], "local-dir": ["*.safetensors", "*.bin", "*.pt"]}.get(scheme, [])
    files = [file for pattern in names for file in sorted(Path(expand(place)).glob(pattern))]
    return file_digest(files[0]).sha256 if files else None


def class_names_sha256(file: str | None) -> str | None:
    """Of the lines of data.class_names: which class is which number. None where the file is not at hand."""
    return digest(read_names(file)) if file is not None and Path(expand(file)).is_file() else None
