"""What makes another student when it changes: a run goes on, or counts as finished, only where it is all the same."""

from __future__ import annotations

from copy import deepcopy
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


def as_begun(wanted: dict[str, Any], begun: dict[str, Any] | None) -> dict[str, Any]:
    """`wanted`, another identity, with each store and list of class names that `begun` knows by the name it has there:
    what is the same to the byte may have been moved, or be named from another folder.
    """
    if begun is None or not isinstance(begun.get("recipe"), dict):
        return wanted
    recipe, now, then = deepcopy(wanted["recipe"]), wanted.get("stores", {}), begun.get("stores", {})
    before = named_stores(begun["recipe"])
    for name, (holder, key) in named_stores(recipe).items():
        there, knob = before.get(name, ({}, ""))
        # A teacher of data.also without a store of its own is in each that is mixed, and not in one of them alone.
        if holder.get(key) and there.get(knob) and now.get(name) == then.get(name) is not None:
            holder[key] = there[knob]
    lists = wanted.get(NAMES), begun.get(NAMES)
    if lists[0] is not None and lists[0] == lists[1]:
        recipe["data"]["class_names"] = begun["recipe"]["data"]["class_names"]
    return wanted | {"recipe": recipe}


def named_stores(recipe: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Where a recipe names its stores, by what an identity calls them (`stores` of training/ingredients.py)."""
    data = recipe.get("data") or {}
    found = {name: (data, name) for name in ("texts", "classes") if data.get(name)}
    images = [(one, "images") for one in data.get("mix") or ([data] if data.get("images") else [])]
    found |= {f"images.{number}" if number else "images": one for number, one in enumerate(images)}
    return found | {f"also.{name}": (one, "images") for name, one in (data.get("also") or {}).items()}
