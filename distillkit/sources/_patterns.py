"""Files by pattern: `*`, `?` and `**` are looked up by a walk, `{0000..0331}` and `{a,b}` spelled out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fsspec.utils import glob_translate

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._places import Place, below, printable
from distillkit.sources._walk import NoFolder, walk

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_WILD = re.compile(r"[*?\[]")


def files(place: Place, pattern: str, account: Account, knob: str, cure: str = "") -> list[str]:
    """Files below a place, each once, in order of their names. `account` gets what a walk met beside them.

    `knob`: which knob of the recipe the pattern is. SourceError where a name or a pattern means no file; `cure`: what
    else helps then.
    """
    names = list(_spelled_out(pattern))
    for name in names:
        try:
            below(str(place.root), name)
        except SourceError as error:
            raise SourceError(f"{error}{cure}") from None
    wild = [name for name in names if _WILD.search(name)]
    found = _matching(place, wild, account, knob)
    for name in names:
        if name not in found:
            found[name] = [name] if place.has(name) else []
        if not found[name]:
            told = f"no such file; mend source.root or the pattern {pattern!r} in the recipe{cure}"
            raise SourceError(f"{place.where(name)}: {told}")
    every = sorted({match for matches in found.values() for match in matches})
    odd = next((match for match in every if printable(match) != match), None)
    if odd is not None:
        raise SourceError(f"{place.where(odd)}: its name is not UTF-8, and a store cannot record it; rename it")
    return every


def _matching(place: Place, patterns: list[str], account: Account, knob: str) -> dict[str, list[str]]:
    """By pattern, what it means. Patterns that begin with the same folder share a walk."""
    found: dict[str, list[str]] = {pattern: [] for pattern in patterns}
    starts = {pattern: _WILD.split(pattern)[0].rpartition("/")[0] for pattern in patterns}
    for start in sorted(set(starts.values())):
        fits = {one: re.compile(glob_translate(one)) for one, begin in starts.items() if begin == start}
        beyond = [one.removeprefix(start).removeprefix("/") for one in fits]
        levels = None if any("**" in one for one in beyond) else max(one.count("/") for one in beyond)
        hidden = any(part.startswith(".") for one in beyond for part in one.split("/"))
        try:
            for name in walk(place, account, start, levels=levels, hidden=hidden, knob=knob):
                meant = [one for one, fit in fits.items() if fit.fullmatch(name)]
                for one in meant:
                    found[one].append(name)
                if not meant:
                    account.pass_over(name)
        except NoFolder:
            continue  # whoever asked is told of the pattern, which means no file
    return found


def is_pattern(name: str) -> bool:
    """Whether it may mean several files."""
    return bool(_WILD.search(name) or _BRACES.search(name))


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
