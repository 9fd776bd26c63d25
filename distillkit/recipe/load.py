"""A file of TOML, and `--set key=value`, to a checked recipe."""

from __future__ import annotations

import contextlib
import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distillkit.errors import RecipeError
from distillkit.recipe.extraction import ExtractRecipe
from distillkit.recipe.mining import MineRecipe, SelectRecipe
from distillkit.recipe.schema import Made, validate
from distillkit.recipe.training import TrainRecipe
from distillkit.system.addresses import refuse_secrets, refuse_secrets_within
from distillkit.system.paths import here, meant
from distillkit.system.wording import as_word

_SHOWN = 5  # recipes that are told where another one was meant
# A key that only recipes of one kind have, and what to do with such a recipe.
_STAGES = (
    ("corpora", ExtractRecipe, "an extraction", "extract-teacher"),
    ("student", TrainRecipe, "a training", "train-student"),
    ("students", TrainRecipe, "a training", "train-student"),
    ("queries", MineRecipe, "a mining", "mine-neighbours"),
    ("texts", SelectRecipe, "a selection", "select-texts"),
)


def load(path: str | Path, overrides: list[str] | None = None, *, kind: type[Made]) -> Made:
    """Read and check a recipe; `overrides` are `key.path=value` with values in TOML.

    `extends = "other.toml"` begins with another recipe, beside this one: its tables are filled up key by key; all other
    values, lists included, are replaced, and so is a table of another `kind`.
    """
    path = here(path)
    content = _read(path, ())
    for override in overrides or []:
        _override(content, override)
    try:
        _refuse_large_numbers(content, str(path), "")
    except RecursionError as error:
        raise RecipeError(f"{path}: tables are nested too deep; take some levels out") from error
    _refuse_other_stage(path, content, kind)
    return validate(kind, content, str(path))


def content_of(path: Path) -> dict[str, Any]:
    """What a recipe says, with those that it extends, before anybody asks what it means. RecipeError for no TOML."""
    return _read(path, ())


def extended(path: Path) -> Iterator[str]:
    """What a recipe extends, what that extends, and so on, as each says it; of one that `content_of` has read."""
    while first := tomllib.loads(path.read_text("utf-8-sig")).get("extends"):
        yield first
        path = path.parent / first


def settings(overrides: list[str] | None) -> dict[str, Any]:
    """What `--set key=value` says where there is no recipe to change."""
    content: dict[str, Any] = {}
    for override in overrides or []:
        _override(content, override)
    _refuse_large_numbers(content, "--set", "")
    return content


def changed(recipe: Made, overrides: list[str], where: str) -> Made:
    """A recipe that was read before, with `--set key=value` on top; `where` is what errors call it."""
    if not overrides:
        return recipe
    content = recipe.model_dump(mode="json")
    for override in overrides:
        _override(content, override)
    return validate(type(recipe), content, where)


def _read(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise RecipeError(f"{path}: no such recipe{_recipes_nearby(path)}")
    if path.resolve() in extending:
        raise RecipeError(f"{path}: extends itself; begin with another recipe")
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); mend the file, or name another") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 ({error.reason}); convert the file") from error
    except (ValueError, RecursionError) as error:  # no TOML, digits or brackets without an end
        raise RecipeError(f"{path}: not TOML: {error}; mend that place of the file") from error
    refuse_secrets_within(content, str(path))
    first = content.pop("extends", None)
    if first is None:
        return content
    if not isinstance(first, str):
        raise RecipeError(f"{path}: extends = {first!r} is no file name; write the name of another recipe")
    return _filled(_read(path.parent / first, (*extending, path.resolve())), content)


def _filled(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    if "kind" in then and then["kind"] != first.get("kind"):
        return then
    both = {
        key: _filled(first[key], then[key])
        for key in first.keys() & then.keys()
        if isinstance(first[key], dict) and isinstance(then[key], dict)
    }
    return first | then | both


def _refuse_other_stage(path: Path, content: dict[str, Any], kind: type[BaseModel]) -> None:
    for key, stage, what, command in _STAGES:
        if key in content and kind is not stage:
            raise RecipeError(f"{path}: this is {what} recipe; run: distillkit {command} {as_word(path)}")


def _refuse_large_numbers(value: Any, where: str, place: str) -> None:
    """RecipeError for a whole number that has no 64 bits: TOML promises no more, and no library takes it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_large_numbers(inner, where, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise RecipeError(f"{where}: {place} is a number of {value.bit_length()} bits; write one of at most 63")


def _recipes_nearby(path: Path) -> str:
    here = sorted(file.stem for file in path.parent.glob("*.toml"))
    near = difflib.get_close_matches(path.stem, here, n=1)
    if near:
        return f", did you mean {path.parent / near[0]}.toml?"
    if there := meant(path):
        return there
    if not here:
        return "; name the file of one"
    nearest = difflib.get_close_matches(path.stem, here, n=len(here), cutoff=0.0)
    nearest.sort(key=lambda name: path.stem not in name)
    shown = here if len(here) <= _SHOWN else nearest[:_SHOWN]
    more = f" and {len(here) - len(shown):,} more" if len(here) > len(shown) else ""
    return f" (there are: {', '.join(f'{name}.toml' for name in shown)}{more})"


def _meant_by(key: str, text: str) -> str:
    """How a value that is no TOML is to be written: several of them as a list, anything else as a string."""
    with contextlib.suppress(ValueError, RecursionError):
        if "," in text and tomllib.loads(f"value = [{text}]"):
            return f"put brackets around a list: --set '{key}=[{text}]'"
    return f"quote strings: --set '{key}=\"{text}\"'"


def _override(content: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    refuse_secrets(text, f"--set {key}")
    if not found:
        raise RecipeError(f"--set {override}: write key=value, such as --set optim.lr=3e-4")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--set {override}: {text!r} is not a TOML value ({_meant_by(key, text)})") from error
    *parents, last = key.strip().split(".")
    place: Any = content
    try:
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if isinstance(place, list) and int(last) == len(place):
            place.append(value)
        else:
            place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"--set {override}: {key!r} is no place in the recipe's tables and lists (these count from 0); name one "
            "that is"
        ) from error
