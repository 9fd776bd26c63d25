"""`make bench`: run every row, print the table, keep it as JSON and text. `--quick` only shows that the code runs."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import pkgutil
import tempfile
from pathlib import Path

from distillkit.machine import machine
from distillkit.versions import versions
from tests import bench
from tests.bench.measure import Row

# What the rows are made with, and no rows themselves.
_PARTS = {"__main__", "measure"}


def names() -> list[str]:
    found = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name for name in found if name not in _PARTS and not name.startswith("test_"))


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    cells = [("row", "ratio", "of rounds", "goal", "", "ours", "theirs", "")]
    for row in rows:
        spread = f"{row.low:.2f}-{row.high:.2f}"
        state = "met" if row.met else "NOT MET"
        rates = (f"{row.ours:,.4g}", f"{row.theirs:,.4g}", row.unit)
        cells.append((row.name, f"{row.ratio:.3f}", spread, row.goal, state, *rates))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that the code runs, not how fast")
    parser.add_argument("--only", choices=names(), help="one file of rows")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the result files go")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in [arguments.only] if arguments.only else names():
        with tempfile.TemporaryDirectory() as folder:
            rows += importlib.import_module(f"tests.bench.{name}").run(Path(folder), arguments.quick)
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    facts = {"date": date, "machine": machine(), "versions": versions(), "rows": [row.as_dict() for row in rows]}
    print(table(rows))
    if arguments.quick or arguments.only:
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cpu.json").write_text(json.dumps(facts, indent=2) + "\n")
    (arguments.out / "cpu.txt").write_text(f"{date}  {facts['machine']}\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
