"""Where things lie: the cache folder, the data manifests, and placeholders in recipe paths."""

from __future__ import annotations

import difflib
import os
from itertools import islice
from pathlib import Path

import platformdirs

from distillkit.errors import NoHome, SourceError, choose_places

_ALIKE = 0.75  # of 1: a letter or two; less is another word
_LEAST = 3  # letters of a name that another may begin with, or hold: fewer are in too many
_LISTED = 10_000  # names of a folder that are looked at
CACHE_VARIABLE = "DISTILLKIT_CACHE"


def cache_dir() -> Path:
    """The folder for prepared corpora: $DISTILLKIT_CACHE, or the platform's own cache folder. NoHome without both."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    refusal = f"this user has no home folder; set {CACHE_VARIABLE} to a folder for prepared corpora, or HOME"
    try:
        folder = platformdirs.user_cache_path("distillkit")
    except RuntimeError as error:
        raise NoHome(refusal) from error
    if not folder.is_absolute():  # older platformdirs leave a "~" that nothing stands for
        raise NoHome(refusal)
    return folder


def _another_cache(place: str) -> str:
    """How another cache is chosen, for a place in it or on the way to it: containers have a user whose home is "/"."""
    try:
        cache, path = cache_dir().absolute(), Path(place).absolute()
        on_the_way = path in cache.parents and not path.exists()  # it was to be made
    except PermissionError:  # a home that nobody else may even look into
        on_the_way = True
    except (NoHome, FileNotFoundError):  # the folder that is worked in may be gone
        return ""
    if cache != path and cache not in path.parents and not on_the_way:
        return ""
    return f"mend that place, or set {CACHE_VARIABLE} to a folder that can be written,"


choose_places(_another_cache)


def home() -> Path:
    """What `~` stands for; NoHome where the system does not know (containers with a number for a user)."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise NoHome("~: this user has no home folder; set HOME, or write the whole path") from error


def expand(text: str) -> str:
    """`text` with `{cache}`, `~` and environment variables replaced, as recipes may write them."""
    path = os.path.expandvars(text.replace("{cache}", str(cache_dir())) if "{cache}" in text else text)
    # Only a leading ~ is a home; a path object would also swallow "./" and the "//" of remote addresses.
    return str(home()) + path[1:] if path == "~" or path.startswith("~/") else path


def here(place: Path | str) -> Path:
    """The same as a path: what every function that is told a place does with it."""
    return Path(expand(str(place)))


def followed(place: Path) -> Path:
    """`place`, or what it leads to where it is a link itself: what lies beside that is found by every name of it.

    Nothing can lie beside the root of a disk, nor where others alone may write: of a link there it is the link.
    """
    if not place.is_symlink() and place.name not in ("", ".."):
        return place
    real = Path(os.path.realpath(place))
    around = next((folder for folder in real.parents if folder.exists()), real)
    may = os.access(around, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return place if place.is_symlink() and (not may or os.path.ismount(real)) else real


def meant(path: Path | str) -> str:
    """ ", did you mean a/photos?" of a path that is not there and nearly is; nothing where no name is like it, begins
    with what was written, or holds it.
    """
    path = Path(path)
    try:
        there = next(place for place in path.parents if place.is_dir())
        first, *rest = path.relative_to(there).parts
        names = [one.name for one in islice(there.iterdir(), _LISTED)]
        near = difflib.get_close_matches(first, names, n=1, cutoff=_ALIKE)
        near += _longer(first, names)
        asked = (there.joinpath(name, *rest) for name in near if name != first)
        found = next((path for path in asked if path.exists()), None)
    except (OSError, StopIteration, ValueError):
        return ""
    return f", did you mean {found}?" if found is not None else ""


def or_else(told: str, cure: str) -> str:
    """`told; cure`; behind a question, as of `meant`, the cure is a sentence of its own: "... this? Or cure"."""
    return f"{told} Or {cure.removeprefix('or ')}" if told.endswith("?") else f"{told}; {cure}"


def _longer(written: str, names: list[str]) -> list[str]:
    """Of `names` those that begin with what was written, then those that hold it, the shortest first.

    What lies beside a folder, as NAME.index or NAME.before-..., begins with its name and is no other one.
    """
    if len(written) < _LEAST or "." in written:
        return []
    longer = [name for name in names if written in name.partition(".")[0] and not name.startswith(f"{written}.")]
    return sorted(longer, key=lambda name: (not name.startswith(written), len(name), name))


def data_manifests() -> Path:
    """The folder of what is known of corpora."""
    return _shipped("data_manifests")


def shipped_recipes() -> Path:
    """The folder of the recipes that come with this version."""
    return _shipped("pipelines")


def _shipped(name: str) -> Path:
    """A folder beside the package in a checkout, within it where it was installed."""
    here = Path(__file__).parent.parent
    for folder in (here / name, here.parent / name):
        if folder.is_dir():
            return folder
    raise SourceError(f"no {name} beside the package at {here}; reinstall distillkit")
