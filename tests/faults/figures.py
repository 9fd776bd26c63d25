"""What has been tried so far, as a table to read and a file to keep: by method and part, out of the log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from distillkit.system.machine import machine
from distillkit.system.versions import versions
from tests.faults.parts import PARTS
from tests.faults.progress import Line, logged
from tests.faults.sites import sites

FOLDER = Path("benchmarks/results/reliability")


def told() -> int:
    """Print the table and write the file; exit code 1 where anything failed."""
    figures = figures_of(logged())
    print("\n".join(table(figures)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{_slug(machine())}.json"
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    print(path)
    return 1 if any(row["failed"] for row in figures["methods"].values()) else 0


def figures_of(lines: list[Line]) -> dict[str, Any]:
    """Sums by method, and by part within it; which fsyncs are missed when they are taken out."""
    goals = {part.method: part.goal for part in PARTS}
    methods: dict[str, Any] = {}
    for line in lines:
        method = methods.setdefault(
            line["method"],
            {"unit": line["unit"], "goal": goals.get(line["method"]), "counted": 0, "failed": [], "parts": {}}
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
    caught = {site for line in lines for site in line.get("caught", ())} & {*sites()}
    fsyncs = {"all": len(sites()), "missed when taken out": len(caught), "not": sorted({*sites()} - caught)}
    return {"methods": methods, "fsyncs": fsyncs, "machine": machine(), "made_with": versions()}


def table(figures: dict[str, Any]) -> list[str]:
    lines = ["| method | part | tried | goal | failed |", "|---|---|---|---|---|"]
    for name, method in figures["methods"].items():
        goal = f"{method['goal']:,}" if method["goal"] else "all"
        goal += " min a part" if "minutes" in method else ""
        more = {part: f" in {taken:g} min" for part, taken in method.get("minutes", {}).items()}
        more |= {part: f" of {every:,}" for part, every in method.get("all", {}).items()}
        lines.append(f"| {name} | all | {method['counted']:,} {method['unit']} | {goal} | {len(method['failed'])} |")
        lines += [f"| | {part} | {counted:,}{more.get(part, '')} | | |" for part, counted in method["parts"].items()]
    fsyncs = figures["fsyncs"]
    lines.append(f"{fsyncs['missed when taken out']} of {fsyncs['all']} fsyncs are missed when they are taken out")
    return lines + [f"not missed: {site}" for site in fsyncs["not"]]


def _slug(facts: Line) -> str:
    """As `intel-xeon-2-cores`."""
    return re.sub(r"[^a-z0-9]+", "-", f"{facts['cpu']} {facts['cores']} cores".lower()).strip("-")
