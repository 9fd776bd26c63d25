"""One walk through folders, on disk or behind a URL, for every source that looks for files.

Hidden files and folders are passed over. A link to a folder is followed, for whoever set it wants what is behind it;
one that leads back to where the walk has come through is not. A folder that cannot be listed stops the walk: half a
corpus must not pass for a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._places import IMAGES, Entry, Near, Place
from distillkit.system.opening import blame_the_file

_DEEPEST = 32  # behind a URL, where nothing else tells a folder that lists itself


class NoFolder(SourceError):
    """The folder where a walk should begin is not there."""


def walk(
    place: Place,
    account: Account,
    start: str = "",
    *,
    levels: int | None = None,
    hidden: bool = False,
    skip: Sequence[str] = (),
    knob: str = "source.skip",
) -> Iterator[str]:
    """Every file below the folder `start`: those in a folder first, then its folders, each in order of the names.

    `levels`: how many folders down (None: all). `skip`: names or paths of folders that are left out, which may have
    `*` in them; `knob`: which knob of the recipe leaves folders out. SourceError for what cannot be listed.
    """
    waiting: list[tuple[str, int, tuple[str, ...]]] = [(start, 0, ())]
    while waiting:
        folder, level, crossed = waiting.pop()
        entries = _listed(place, folder, knob)
        below = f"{folder}/" if folder else ""
        inner = []
        for entry in entries:
            name = below + entry.name
            if entry.name.startswith(".") and not hidden:
                account.passed["hidden"] += 1
            elif not entry.folder:
                yield name
            elif any(fnmatchcase(name, one) or fnmatchcase(entry.name, one) for one in skip):
                account.passed["skipped folder(s)"] += 1
            elif levels is None or level < levels:
                through = _through(place, folder, name, crossed) if entry.link else crossed
                if through is None:
                    account.passed["link(s) in circles"] += 1
                    continue
                account.links += entry.link
                inner.append((name, level + 1, through))
        waiting += reversed(inner)


def _listed(place: Place, folder: str, knob: str) -> list[Entry]:
    if folder.count("/") == _DEEPEST and not isinstance(place, Near):
        raise SourceError(f"{place.where(folder)}: a folder {_DEEPEST} deep; does this server list itself?")
    try:
        return place.entries(folder)
    except FileNotFoundError as error:
        raise NoFolder(
            f"{place.where(folder)}: cannot be listed (no such folder); mend that path (in a recipe: source.root)"
        ) from error
    except OSError as error:
        blame_the_file(error, place.where(folder))
        raise SourceError(
            f"{place.where(folder)}: cannot be listed ({error.strerror or error}); make it readable, or leave it out "
            f"with {knob}"
        ) from error


def _through(place: Place, folder: str, name: str, crossed: tuple[str, ...]) -> tuple[str, ...] | None:
    """The places where links were crossed, with this one; None where the link leads back to one, or above it."""
    assert isinstance(place, Near)  # there are no links behind URLs
    target, here = place.real(name), (*crossed, place.real(folder))
    return None if any(os.path.commonpath((target, one)) == target for one in here) else here


def classes(place: Place) -> list[str]:
    """The folders right below the root that have images in them, sorted: one that has none is no class."""
    return [folder for folder in top_folders(place) if any(map(is_image, walk(place, Account(), folder)))]


def top_folders(place: Place) -> list[str]:
    """The folders right below the root, sorted; not the hidden ones."""
    return [one.name for one in _listed(place, "", "source.skip") if one.folder and not one.name.startswith(".")]


def is_image(name: str) -> bool:
    """Whether a file is a picture, by the ending of its name."""
    return PurePosixPath(name).suffix.lower() in IMAGES
