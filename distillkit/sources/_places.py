"""Where things lie below a source's root: names that stay there, and lists of files by pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def folder_at(root: str) -> Path:
    """The folder that the knob `root` means."""
    folder = Path(expand(root)).absolute()
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of images; mend source.root in the recipe")
    return folder


def below(root: Path, name: str) -> Path:
    """`root/name`; SourceError where `name` is spelled to leave the root. Links are not looked at: a plan did that."""
    path = root / name
    if not name or "\0" in name or not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
        raise SourceError(f"{name!r} leaves {root}; refused")
    return path


def really_below(root: Path, name: str) -> Path:
    """`root/name` for a name that came with the data; SourceError where it leaves the root, be it through a link."""
    if not name or "\0" in name:
        raise SourceError(f"{name!r} is no path of an image")
    path, real = root / name, _real(root)
    if not (path.is_relative_to(root) and Path(os.path.realpath(path)).is_relative_to(real)):
        raise SourceError(f"{name!r} leaves {real}; refused (source.root may be set higher)")
    return path


@lru_cache(maxsize=8)
def _real(root: Path) -> str:
    return os.path.realpath(root)


def printable(name: str) -> str:
    """The name as text; bytes that are not UTF-8 are written as escapes, so that every key can be stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def files(root: Path, pattern: str) -> list[Path]:
    """Files below `root`, each once: `{00000..00331}` and `{a,b}` are spelled out, `*`, `?`, `**` looked up by name."""
    found: list[Path] = []
    for name in _spelled_out(pattern):
        path = below(root, name)
        wild = any(character in name for character in "*?[")
        matches = sorted(match for match in root.glob(name) if match.is_file()) if wild else [path]
        if not matches or not matches[0].is_file():
            raise SourceError(f"{path}: no such file; mend source.root or the pattern {pattern!r} in the recipe")
        odd = next((match for match in matches if printable(match.name) != match.name), None)
        if odd is not None:
            raise SourceError(f"{printable(str(odd))}: its name is not UTF-8, so no store can tell it; rename it")
        found += matches
    return list(dict.fromkeys(found))


def _spelled_out(pattern: str) -> Iterator[str]:
    """Every name that a pattern with braces stands for, as in a shell: `{08..10}` keeps its zeros."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    numbers = _RANGE.fullmatch(braces[1])
    choices: Iterator[str] | list[str] = braces[1].split(",")
    if numbers:
        first, last, width = int(numbers[1]), int(numbers[2]), len(numbers[1])
        choices = (f"{number:0{width}d}" for number in range(first, last + 1))
    for choice in choices:
        yield from _spelled_out(pattern[: braces.start()] + choice + pattern[braces.end() :])
