"""The tables of docs/scaling.md and README.md that tell of GPUs, remade from benchmarks/results/gpu.

python -m benchmarks.gpu pages
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import CARDS

_ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- gpu: made by `python -m benchmarks.gpu pages` -->", "<!-- gpu: end -->"
# Part, row, and what to call it.
ROWS = [
    ("teachers", "ViT-L/14, compiled", "ViT-L/14 at 224 px, images/s"),
    ("teachers", "ViT-L/14, compiled / products of matrices", "of the rate of bf16 products, goal 0.6, hard goal 0.7"),
    ("teachers", "from JPEGs, nvjpeg / forward alone", "from JPEGs to the store / forward alone, goal 0.9"),
    ("steps", "cached / the student alone", "step from the store / the student alone, goal 0.98"),
    ("steps", "cached / live", "step from the store / with the teacher in the loop, goal 10"),
    ("mining", "exact mining / products of fp32 matrices", "exact mining / products of fp32 matrices, goal 0.4"),
]


def table(cards: Path = CARDS) -> str:
    """A column for each card that was measured; "not measured" where there is none."""
    found = [json.loads(path.read_bytes()) for path in sorted(cards.glob("*.json"))]
    names = [one["machine"]["gpu"] for one in found] or ["a GPU"]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for part, row, title in ROWS:
        cells = [_cell(one, part, row) for one in found] or ["not measured"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(card: dict[str, Any], part: str, row: str) -> str:
    rows = card["parts"].get(part, {}).get("rows", [])
    value = next((one["value"] for one in rows if one["name"] == row), None)
    return "not measured" if value is None else f"{value:,.4g}"


def written(text: str, cards: Path = CARDS) -> str:
    """A page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(cards)}\n\n{END}{after}"


PAGES = (_ROOT / "docs/scaling.md", _ROOT / "README.md")


def write() -> None:
    for path in PAGES:
        path.write_text(written(path.read_text()))
