"""The log of what was tried, and how far it has come: which seeds are done, and which parts have reached their goal.

What was tried is known by method, part and seed. Of several lines that say the same, the last one counts: so what
failed, and is tried again without failing, is mended. The command tries again whatever failed last, once a run.

Of faults it is each one by itself that counts: a line says how many calls of each kind the job made, and its seed is a
slice of the faults of such a job. Where the code has come to make other calls, those of its faults that no line has had
are tried; a part is over when there are none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from distillkit.system.lines import read_lines
from distillkit.system.machine import machine
from tests.faults.failing import KINDS, Fault, slices_of
from tests.faults.fuzz import stood_still
from tests.faults.parts import PARTS, Part

# Nothing here is timed, so how many cores there are is not told apart: `intel-xeon.jsonl`.
LOG = Path("benchmarks/results/reliability") / (re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()) + ".jsonl")

Line = dict[str, Any]


def logged() -> list[Line]:
    """Lines of the log that count, the last of each key.

    Not those of other versions: of parts that are gone, of all without saying of how many, or of other faults; nor
    those of a fuzzer whose machine stood still, which takes that for a reader that hangs.
    """
    parts = {(part.method, part.what): part for part in PARTS}
    found: dict[tuple[Any, ...], Line] = {}
    for line in read_lines(LOG):
        part = parts.get((line.get("method"), line.get("what")))
        if part is not None and _is_of(part, line) and not any(map(stood_still, line["failed"])):
            found.pop(key_of(line), None)  # the newest is the last
            found[key_of(line)] = line
    return [*found.values()]


def _is_of(part: Part, line: Line) -> bool:
    if part.seeds > 1:
        return line.get("kinds") == KINDS
    return "all" in line or part.goal is not None


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
    """What was tried, by part and seed; `add` a line when it is written."""

    def __init__(self, lines: Iterable[Line]):
        self._lines: dict[tuple[str, str], dict[int, Line]] = {}
        self._asked = set[tuple[Any, ...]]()  # by this process
        for line in lines:
            self._put(line)

    def _put(self, line: Line) -> None:
        seeds = self._lines.setdefault((line["method"], line["what"]), {})
        seeds.pop(line["seed"], None)  # the newest is the last
        seeds[line["seed"]] = line

    def add(self, line: Line) -> None:
        self._put(line)
        self._asked.add(key_of(line))

    def next_seed(self, part: Part) -> int | None:
        """What is to be tried next of a part: what failed, then what nobody has tried. None where it is over."""
        lines = self._lines.get((part.method, part.what), {})
        wanted = sorted(seed for seed, line in lines.items() if line["failed"])
        if part.goal is None:
            wanted += [seed for seed in range(part.seeds) if self._lacks(part, seed)]
        elif not self.is_over(part):
            wanted.append(next(seed for seed in count() if seed not in lines))
        return next((seed for seed in wanted if (part.method, part.what, seed) not in self._asked), None)

    def is_over(self, part: Part) -> bool:
        """Its method has reached the goal; or it itself has, where the goal is one of each part, or all of it."""
        if part.goal is None:
            return not any(self._lacks(part, seed) for seed in range(part.seeds))
        names = [(part.method, part.what)] if part.each else [one for one in self._lines if one[0] == part.method]
        every = [line for name in names for line in self._lines.get(name, {}).values()]
        return sum(line["minutes" if part.minutes else "counted"] for line in every) >= part.goal

    def _lacks(self, part: Part, seed: int) -> bool:
        """Whether there is something of a seed that no line has had."""
        lines = self._lines.get((part.method, part.what), {})
        if seed not in lines or "calls" not in lines[seed]:
            return seed not in lines
        newest = [*lines.values()][-1]["calls"]
        return not all(_had(lines[seed], fault) for fault in slices_of(newest)[seed])


def tried_of(lines: list[Line]) -> int:
    """Of the faults that a part has now, how many some line has had, each once."""
    newest = slices_of(lines[-1]["calls"])
    return sum(_had(line, fault) for line in lines for fault in newest[line["seed"]])


def _had(line: Line, fault: Fault) -> bool:
    return fault.nth <= line["calls"].get(fault.kind, 0)
