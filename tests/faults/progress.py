"""The log of what was tried, and how far it has come: which seeds are done, and which parts have reached their goal."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillkit.system.lines import read_lines
from tests.faults.parts import PARTS, Part

LOG = Path("reliability.jsonl")

Line = dict[str, Any]


def logged() -> list[Line]:
    """Lines of the log. Where all is to be tried, a line that does not say of how many is one of other versions."""
    whole = {part.method for part in PARTS if part.goal is None}
    return [line for line in read_lines(LOG) if "method" in line and ("all" in line or line["method"] not in whole)]


def key_of(line: Line) -> tuple[Any, ...]:
    """What was tried: it need not be tried again."""
    return line.get("method"), line.get("what"), line.get("seed")


class Progress:
    """Sums over lines; `add` one when it is written."""

    def __init__(self, lines: Iterable[Line]):
        self.done = set[tuple[Any, ...]]()
        self._methods: Counter[str] = Counter()
        self._parts: dict[tuple[str, str], float] = defaultdict(float)
        self._all: dict[tuple[str, str], int] = {}
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        part = line["method"], line["what"]
        self.done.add(key_of(line))
        self._methods[line["method"]] += line["counted"]
        self._parts[part] += line.get("minutes", line["counted"])
        if "all" in line:  # where no more came it is over, even if other versions counted others
            self._all[part] = line["all"] if line["counted"] else 0

    def is_over(self, part: Part) -> bool:
        """Its method has reached the goal; or it itself has, where the goal is one of minutes, or all of it."""
        name = part.method, part.what
        if part.goal is None:
            return self._parts[name] >= self._all.get(name, math.inf)
        return (self._parts[name] if part.minutes else self._methods[part.method]) >= part.goal
