"""A command that a log or a record tells, as it is to be typed to go on with what it began."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

# What belongs to one call, with the number of words behind it: who goes on wants nothing of it.
_OF_ONE_CALL = {"--shard": 1, "--profile": 1, "--overwrite": 0, "--allow-smaller": 0}
_ANOTHER_JOB = {"--retry-failed", "--retry-changed", "--plan"}


def retyped(command: Any, kind: str) -> str | None:
    """A `command` of that kind, such as "extract-teacher", but for what belonged to that call alone.

    None where it is another one, or none: records come with stores and runs, from wherever those come.
    """
    if not isinstance(command, str) or not command.isprintable():
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    start = ["distillkit", *kind.split()]
    if words[: len(start)] != start or _ANOTHER_JOB & set(words):
        return None
    return shlex.join(_without(words, _OF_ONE_CALL))


def by_one_process(command: str, option: str) -> str:
    """The command with an option for which one process here does it, whoever shared the work before."""
    return shlex.join([*_without(shlex.split(command), {"--engine": 1}), option])


def _without(words: list[str], options: dict[str, int]) -> list[str]:
    """All words but these options, each with so many words behind it."""
    left, kept = list(words), []
    while left:
        name, given, _ = (word := left.pop(0)).partition("=")
        if name not in options:
            kept.append(word)
        elif not given:
            del left[: options[name]]
    return kept


def from_here(command: str) -> str:
    """The command, with the remark that it was typed elsewhere, where its recipe does not lie below this folder."""
    away = [word for word in shlex.split(command) if word.endswith(".toml") and not Path(word).is_file()]
    return command + (f", in the folder where {away[0]} is" if away else "")
