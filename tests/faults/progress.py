"""The log of what was tried, and how far it has come: which seeds are done, and which parts have reached their goal."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from distillkit.system.lines import read_lines
from distillkit.system.machine import machine
from tests.faults.parts import PARTS, Part

# Nothing here is timed, so how many cores there are is not told apart: `intel-xeon.jsonl`.
LOG = Path("benchmarks/results/reliability") / (re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()) + ".jsonl")

Line = dict[str, Any]


def logged() -> list[Line]:
    """Lines of the log, but those of other versions: of parts that are gone, or of all without saying of how many."""
    parts = {(part.method, part.what): part for part in PARTS}
    found = [(parts.get((line.get("method"), line.get("what"))), line) for line in read_lines(LOG)]
    return [line for part, line in found if part is not None and ("all" in line or part.goal is not None)]


@cache
def commit() -> str | None:
    """Of the code that is tried, as far as git tells."""
    if not shutil.which("git"):
        return None
    asked = ["git", "rev-parse", "--short=10", "HEAD"]
    told = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


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
