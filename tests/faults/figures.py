"""What has been tried so far, as a table to read and a file to keep: by method and part, out of the log."""

from __future__ import annotations

import json
from typing import Any

from distillkit.system.machine import machine
from distillkit.system.versions import versions
from tests.faults.parts import PARTS
from tests.faults.progress import LOG, Line, Progress, logged, tried_of


def told() -> int:
    """Print the table and write the file; exit code 1 where anything failed."""
    figures = figures_of(logged())
    print("\n".join(table(figures)))
    path = LOG.with_suffix(".json")
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    print(path)
    return 1 if any(row["failed"] for row in figures["methods"].values()) else 0


def figures_of(lines: list[Line]) -> dict[str, Any]:
    """Sums by method, and by part within it; of which commits of the code."""
    one_of = {part.method: part for part in PARTS}
    methods: dict[str, Any] = {}
    for line in lines:
        method = methods.setdefault(
            line["method"],
            {"unit": line["unit"], "goal": one_of[line["method"]].goal, "counted": 0, "failed": [], "parts": {}}
            | ({"each": {"of": 0, "reached": 0}} if one_of[line["method"]].each else {})
            | ({"minutes": {}} if "minutes" in line else {})
            | ({"all": {}} if "all" in line else {}),
        )
        method["counted"] += line["counted"]
        method["failed"] += line["failed"]
        method["parts"][line["what"]] = method["parts"].get(line["what"], 0) + line["counted"]
        if "all" in line:
            method["all"][line["what"]] = line["all"]
        if "minutes" in line:
            taken = method["minutes"].get(line["what"], 0) + line["minutes"]
            method["minutes"][line["what"]] = round(taken, 1)
    _each_fault_once(methods, lines)
    progress = Progress(lines)
    for part in PARTS:
        if part.each and part.method in methods:
            methods[part.method]["each"]["of"] += 1
            methods[part.method]["each"]["reached"] += progress.is_over(part)
    commits = sorted({line["commit"] for line in lines if line.get("commit")})
    return {"methods": methods, "machine": machine(), "made_with": versions(), "commits": commits}


def _each_fault_once(methods: dict[str, Any], lines: list[Line]) -> None:
    parts: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if "calls" in line:
            parts.setdefault((line["method"], line["what"]), []).append(line)
    for (method, what), ones in parts.items():
        methods[method]["parts"][what] = tried_of(ones)
    for method in {method for method, _ in parts}:
        methods[method]["counted"] = sum(methods[method]["parts"].values())


def table(figures: dict[str, Any]) -> list[str]:
    lines = ["| method | part | tried | goal | failed |", "|---|---|---|---|---|"]
    for name, method in figures["methods"].items():
        goal = f"{method['goal']:,}" if method["goal"] else "all"
        if each := method.get("each"):
            unit = " min a part" if "minutes" in method else " a part"
            goal += f"{unit}, reached by {each['reached']} of {each['of']}"
        more = {part: f" in {taken:g} min" for part, taken in method.get("minutes", {}).items()}
        more |= {part: f" of {every:,}" for part, every in method.get("all", {}).items()}
        lines.append(f"| {name} | all | {method['counted']:,} {method['unit']} | {goal} | {len(method['failed'])} |")
        lines += [f"| | {part} | {counted:,}{more.get(part, '')} | | |" for part, counted in method["parts"].items()]
    return lines
