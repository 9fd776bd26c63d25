"""Every failure a user can cause or mend. A message says what, where, and what to do next, in one line."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from distillkit.hidden import public

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # characters that end a line, or command a terminal
# Names of what is not whole yet: see system/temporary.py, store/format/replaced.py and engine/ray.py.
_NOT_YET = (
    re.compile(r"(?<![^/])\.?([^/]+)\.[0-9a-f]{8}\.partial(?![^/])"),
    re.compile(r"(?<![^/])\.([^/]+)\.appending/\1(?![^/])"),
    re.compile(r"(?<![^/])\.([^/]+)\.staged/\d+/[0-9a-f]{32}(?![^/])"),
)
_PASSING = re.compile(r"tmp[a-z0-9_]{8}")  # as `tempfile` calls what has no name in the end
_renamings: list[Callable[[str], str]] = []
_choices: list[Callable[[str], str]] = []


def rename_places(renamed: Callable[[str], str]) -> None:
    """From here on every line for people passes through `renamed`, which gives places the names that people know.

    Whoever knows such names lies above this file, which may import nothing of it: so it is told here.
    """
    _renamings.append(renamed)


def choose_places(cure: Callable[[str], str]) -> None:
    """From here on who is refused a place is told what `cure` knows of it: how another one is chosen. Told as above."""
    _choices.append(cure)


def cure_of(places: Sequence[str], otherwise: str) -> str:
    """How another place is chosen than these, where no command line and no recipe names them; else `otherwise`."""
    return next((told for cure in _choices for place in places if (told := cure(place))), otherwise)


def as_known(line: str) -> str:
    """A line for people, with places as they named them."""
    for renamed in _renamings:
        line = renamed(line)
    return line


class DistillkitError(Exception):
    """Base of all errors shown to users as one line, without a traceback.

    The names in it are whatever somebody called a column or a file, so characters that are none are written out, and
    secrets of an address that was given in place of one are not.
    """

    def __str__(self) -> str:
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], as_known(public(super().__str__())))


class RecipeError(DistillkitError):
    """A recipe, or a value in it, cannot be used."""


class StoreError(DistillkitError):
    """A feature store is missing, incomplete, damaged, or made by another teacher."""


class SourceError(DistillkitError):
    """A corpus, or one sample of it, cannot be read."""


class TeacherError(DistillkitError):
    """A teacher cannot be found, fetched or loaded."""


class TrainError(DistillkitError):
    """Training cannot start, go on or be resumed."""


class OtherRun(TrainError):
    """Steps of another recipe lie where a run is to be; with `overwrite` they are set aside."""


class ExportError(DistillkitError):
    """A student cannot leave the house that way, or would answer otherwise there."""


class DiskFull(DistillkitError):
    """A file cannot be written: no space left, or no quota."""


class DiskLost(DistillkitError):
    """A file cannot be written or read: the disk or mount it lies on is gone, can only be read, or refuses it now."""


class NotNow(DistillkitError):
    """A file cannot be read now, which is no fault of its own: too many are open, or its disk or server is gone."""


class NoHome(DistillkitError):
    """The user's folder is needed, and the system knows none."""


class NoLocks(DistillkitError):
    """A folder lies on a file system that cannot keep processes apart."""


class SecretGiven(DistillkitError):
    """A password or a signature stands in an address, which records and logs would keep."""


class MissingExtra(DistillkitError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(f'{package} is not installed; run: pip install "distillkit[{extra}]"')


def in_full(error: BaseException, told: str | None = None) -> str:
    """What an error says (or what is `told` for it), and what was noted on its way, such as how to go on."""
    return "; ".join([str(error) if told is None else told, *getattr(error, "__notes__", ())])


def refused(error: OSError) -> str:
    """The line that a user reads of what the system refused: where, what, and what next."""
    if no_temporary_folder(error):
        return f"{error.strerror}; set TMPDIR to a folder that can be written, and run the same command again"
    places = [os.fsdecode(place) for place in (error.filename, error.filename2) if isinstance(place, str | bytes)]
    if not any("/" in place for place in places):  # a call relative to an open folder tells the last part alone
        places = list(dict.fromkeys([in_hand(error) or "a file", *places]))
    places = list(dict.fromkeys(map(in_the_end, places)))
    why = (error.strerror or type(error).__name__).lower()
    cure = cure_of(places, "mend that place or name another,")
    return f"{' -> '.join(map(public, places))}: {why}; {cure} and run the same command again"


def no_temporary_folder(error: BaseException) -> bool:
    """Whether it is what `tempfile` says where it may write nowhere, as in a container whose root is only read."""
    return isinstance(error, FileNotFoundError) and "temporary directory" in (error.strerror or "")


def place_of(error: OSError, path: Path, reading: bool) -> str:
    """The file that an error is about which came while `path` was written: mostly `path`, or one that is read for it.

    For a temporary name of `path`, and for a folder above it, that is `path`, which a user knows. `reading`: an error
    that names no file may be about the one that is being read.
    """
    found = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if found is None and reading:
        found = in_hand(error)
    if not found or not Path(found).is_absolute() or ".partial" in found or Path(found) in path.parents:
        return in_the_end(path)
    if Path(found).parent == path.absolute() and _PASSING.fullmatch(Path(found).name):
        return in_the_end(path)
    return in_the_end(found)


def in_the_end(place: str | Path) -> str:
    """What a place will be called when what lies there is whole: until then it has a name that means nothing to a user.

    Not of what a user is to delete or move by that name.
    """
    called = str(place)
    for name in _NOT_YET:
        called = name.sub(r"\1", called)
    return called


def unreadable_by_now(place: str, why: object) -> SourceError:
    """Of an image that a store has a row of."""
    return SourceError(
        f"{place}: could be read when its features were extracted, now: {why}; bring that file back, and run the same "
        "command again"
    )


def in_hand(error: OSError) -> str | None:
    """The file that the innermost function with one had in hand: a failed read, fsync or lock does not say its name."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            name = getattr(value, "name", None) if hasattr(value, "fileno") else None
            found = str(value) if isinstance(value, Path) else name if isinstance(name, str) else found
    return found
