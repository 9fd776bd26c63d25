"""The table of docs/export.md, made of benchmarks/results/exports.json."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE, RESULT = ROOT / "docs/export.md", ROOT / "benchmarks/results/exports.json"
_HEAD = "| student | target | networks | worst cosine | finds | R@1 | R@10 |\n|---|---|---:|---|---|---:|---:|\n"


def in_guide(text, rows):
    """The guide with its table renewed: what stands under the head, and the line of refusals after it."""
    begin = text.index(_HEAD)
    end = re.compile(r"\n\n(?=## )").search(text, begin).start()
    return text[:begin] + _HEAD + table(rows) + text[end:]


def table(rows):
    held = [row for row in rows if "refused" not in row]
    lines = [_line(row) for row in held]
    students = list(dict.fromkeys(row["student"] for row in rows))
    refused = [_refused(student, rows) for student in students]
    return "\n".join([*lines, "", *filter(None, refused)]).rstrip()


def _line(row):
    worst = ", ".join(f"{name} {_cosine(value)}" for name, value in row["worst"].items())
    precision = "" if row["precision"] == "fp32" else f", {row['precision']}"
    beside = " + teacher's texts" if row["text_tower"] == "teacher" else ""
    size = f"{_bytes(row['bytes'])} ({_times(row['teacher_bytes'] / row['bytes'])})"
    numbers = [f"{before:.1f} → {after:.1f}" for before, after in zip(row["before"], row["after"], strict=True)]
    cells = [row["student"], f"`{row['to']}`{precision}{beside}", size, worst, row["finds"], *numbers]
    return "| " + " | ".join(cells) + " |"


def _cosine(value):
    return f"1 - {1 - value:.0e}" if 1 - value >= 5e-9 else "1"


def _bytes(count):
    return f"{count / 1e6:.3g} MB"


def _times(ratio):
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def _refused(student, rows):
    """In a line, where a student cannot go, and why."""
    found = {}
    for row in rows:
        if row["student"] == student and "refused" in row:
            name = row["to"] if row["precision"] == "fp32" else f"{row['to']} in {row['precision']}"
            found.setdefault(row["refused"], []).append(f"`{name}`")
    told = "; ".join(f"{', '.join(targets)}: {why}" for why, targets in found.items())
    return f"* {student} does not go to {told}." if told else ""
