"""Rows of a part, on the disk as soon as they are there; at the end a page of them, and the file of the card."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PARTS = ("tests", "smoke", "limits", "teachers", "steps", "mining")
CARDS = Path(__file__).parents[1] / "results" / "gpu"


@dataclass(frozen=True)
class Row:
    """`value` in `unit`; `goal` is its floor, `met` whether it is reached. Of a check, `met` is all there is."""

    name: str
    value: float | None = None
    unit: str = ""
    goal: float | None = None
    met: bool | None = None
    told: str = ""


class Part:
    """The rows of one part. Each is kept at once: what comes after it may be cut off."""

    def __init__(self, out: Path, name: str):
        self.path, self.rows, self.begun = out / f"{name}.json", list[Row](), time.perf_counter()

    def add(
        self, name: str, value: float | None = None, unit: str = "", goal: float | None = None, **more: Any
    ) -> None:
        met = more.pop("met", None if value is None or goal is None else value >= goal)
        rounded = None if value is None else float(f"{value:.4g}")
        self.rows.append(Row(name, rounded, unit, goal, met, **more))
        self.keep()

    def spent(self) -> float:
        """Seconds since the part began."""
        return time.perf_counter() - self.begun

    def keep(self, **ended: Any) -> None:
        facts = {"seconds": round(self.spent(), 1), "rows": [asdict(row) for row in self.rows]}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(facts | ended, indent=1))
        partial.replace(self.path)


def value_of(out: Path, part: str, name: str) -> float | None:
    """A row that another part has measured, such as the rate of products of matrices."""
    return next((row["value"] for row in _read(out, part).get("rows", []) if row["name"] == name), None)


def ended(out: Path, part: str, code: int, seconds: int) -> None:
    """How a part ended; one that was cut off keeps the rows it had."""
    facts = {"rows": []} | _read(out, part) | {"code": code, "seconds": seconds}
    facts["ended"] = {0: "whole", 124: "out of time", 137: "out of time"}.get(code, f"failed, see {part}.log")
    (out / f"{part}.json").write_text(json.dumps(facts, indent=1))


def summary(out: Path, toy: bool) -> str:
    """One page; of a real run, the card's file as well."""
    from distillkit.system.machine import machine  # and torch with it, which nothing else here needs
    from distillkit.system.versions import versions

    facts = machine(idle_gpu=True)  # the parts are processes of their own
    found = {part: _read(out, part) for part in PARTS}
    card = facts["gpu"] or "no GPU"
    lines = [f"# {card}{', toy sizes' if toy else ''}", "", f"{facts['cpu']}, {facts['cores']} cores", ""]
    for part, told in found.items():
        lines += [f"## {part}: {told.get('ended', 'not begun')}, {told.get('seconds', 0)} s", ""]
        lines += [_line(row) for row in told.get("rows", [])] + [""]
    (out / "summary.md").write_text("\n".join(lines))
    if not toy and facts["gpu"]:
        CARDS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
        record = {"machine": facts, "versions": versions(), "parts": found}
        (CARDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    state = "" if row["met"] is None else "ok  " if row["met"] else "NO  "
    number = "" if row["value"] is None else f" {row['value']:,.4g} {row['unit']}".rstrip()
    goal = "" if row["goal"] is None else f" (goal {row['goal']:g})"
    return f"* {state}{row['name']}:{number}{goal}{' ' + row['told'] if row['told'] else ''}"


def _read(out: Path, part: str) -> dict[str, Any]:
    path = out / f"{part}.json"
    return json.loads(path.read_bytes()) if path.is_file() else {}
