"""Which pictures are meant: all below a folder, one file, or those whose names a list or stdin tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distillkit.callable import Say
from distillkit.errors import SourceError
from distillkit.sources._places import printable
from distillkit.sources._walk import is_image
from distillkit.sources.folder import Folder
from distillkit.system.paths import expand
from distillkit.system.remote import is_remote
from distillkit.system.textfile import lines_of

STDIN = "-"


@dataclass(frozen=True)
class Named:
    """A picture's `key`, which is text, and the file that it is, whose name may be none."""

    key: str
    path: Path


def below(folder: Path, say: Say) -> list[Named]:
    """Every picture below a folder, by the path there. SourceError where there is none; what is passed over is told."""
    source = Folder(root=str(folder))
    found = [Named(sample.key, Path(folder / str(sample.image))) for sample in source]
    told = source.account.line(len(found))
    if not found:
        raise SourceError(f"{folder}: no pictures in it ({told}); name a folder that has some")
    if source.account.passed:
        say(f"{folder}: {told}")
    return found


def listed(place: str) -> list[Named]:
    """One picture, or those that a .txt file, or stdin ("-"), names, one a line. SourceError where that is nothing."""
    if place != STDIN and is_image(place):
        return [Named(printable(place), Path(expand(place)))]
    found = [Named(printable(line.strip()), Path(expand(line.strip()))) for line in _lines(place) if line.strip()]
    if not found:
        raise SourceError(f"{called(place)}: names no picture; write the path of one in each line")
    return found


def called(place: str) -> str:
    """A list of pictures or texts, as people are told of it."""
    return "stdin" if place == STDIN else printable(place)


def folder_of(place: str) -> Path | None:
    """The folder that is meant, or None for a file or stdin. SourceError where nothing of that name is there."""
    if place == STDIN:
        return None
    if is_remote(place):
        raise SourceError(
            f"{place}: is a URL; copy it to a folder here, or make a store of it: distillkit extract-teacher"
        )
    path = Path(expand(place))
    try:
        if path.is_dir():
            return path
        there = path.is_file()
    except (OSError, ValueError) as error:
        raise SourceError(f"{place}: cannot be read ({error})") from error
    if not there or not (is_image(path.name) or path.suffix == ".txt"):
        why = "is neither a picture nor a .txt with names of pictures" if there else "no such file or folder"
        raise SourceError(f"{place}: {why}; name a folder of pictures, a picture, a .txt, or - for names from stdin")
    return None


def texts_of(place: str | Path) -> list[str]:
    """Texts of a file, one a line, in order; empty lines are none. SourceError where there are none."""
    texts = [line.strip() for line in _lines(str(place)) if line.strip()]
    if not texts:
        raise SourceError(f"{place}: no texts in it; write one in each line")
    return texts


def _lines(place: str) -> Iterator[str]:
    try:
        content = sys.stdin.buffer.read() if place == STDIN else Path(expand(place)).read_bytes()
        yield from lines_of(content)
    except OSError as error:
        raise SourceError(f"{called(place)}: cannot be read ({error.strerror or error}); name another file") from error
    except ValueError as error:
        raise SourceError(f"{called(place)}: not UTF-8 ({error}); convert the file") from error
