"""`make bench`: run every row, print the table, keep it as JSON and text. `--quick` only shows that the code runs.

Each file of rows has a result file of its own, so `--only` renews one of them; the table is made of all of them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import pkgutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distillkit.system.machine import machine
from distillkit.system.versions import versions
from tests import bench
from tests.bench.measure import NOT_INSTALLED, Row

# What the rows are made with, and no rows themselves.
_PARTS = {"__main__", "clustered", "measure", "peers", "pictures", "scaling", "stores"}
# Packages of the extra `bench`, whose versions belong to what was measured against them.
_PEERS = ("tensorstore", "pylance", "webdataset", "pyarrow")


def names() -> list[str]:
    found = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name for name in found if name not in _PARTS and not name.startswith("test_"))


def for_a_gpu(name: str) -> bool:
    """Rows that are about a GPU; the others are about the processor, whatever else the machine has."""
    return name.startswith("gpu_")


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    cells = [("row", "ratio", "of rounds", "goal", "", "ours", "theirs", "")]
    for row in rows:
        ratio, spread, ours, theirs = ("" if row.ratio is None else f"{row.ratio:.3f}"), "", "", ""
        if row.low is not None and row.high is not None:
            spread = f"{row.low:.2f}-{row.high:.2f}"
        if row.ours is not None:
            ours = f"{row.ours:,.4g}"
        if row.theirs is not None:
            theirs = f"{row.theirs:,.4g}"
        state = row.note or ("met" if row.met else "NOT MET")
        cells.append((row.name, ratio, spread, row.goal, state, ours, theirs, row.unit))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def facts(rows: list[Row], load: float) -> dict[str, Any]:
    """What a result file holds. `load`: processes that wanted a core just before, so 0 is a quiet machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(idle_gpu=True),
        "load": round(load, 1),
        "versions": versions() | _peers(),
        "rows": [row.as_dict() for row in rows],
    }


def summary(folder: Path) -> str:
    """The table of all result files, with the machine and day of each where they differ."""
    found = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    places: dict[str, list[Row]] = {}
    for one in found:
        place = f"{one['date']}  {one['machine']}"
        places.setdefault(place, []).extend(Row(**row) for row in one["rows"])
    return "\n\n".join(f"{place}\n\n{table(rows)}" for place, rows in places.items()) + "\n"


def _peers() -> dict[str, str]:
    found = {}
    for name in _PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that the code runs, not how fast")
    parser.add_argument("--gpu", action="store_true", help="the rows of a GPU, instead of those of a processor")
    parser.add_argument("--only", choices=names(), help="one file of rows")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where the result files go")
    arguments = parser.parse_args()
    wanted = [name for name in names() if for_a_gpu(name) == arguments.gpu]
    for name in [arguments.only] if arguments.only else wanted:
        folder = arguments.out / ("gpu" if for_a_gpu(name) else "cpu")
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as scratch:
            rows = importlib.import_module(f"tests.bench.{name}").run(Path(scratch), arguments.quick)
        print(table(rows), flush=True)
        if any(row.note == NOT_INSTALLED for row in rows):
            print("peers are installed by: .venv/bin/pip install -e '.[bench]' and: make bench-peers", flush=True)
        if not arguments.quick and any(row.met is not None for row in rows):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.json").write_text(json.dumps(facts(rows, load), indent=2) + "\n")
            folder.with_suffix(".txt").write_text(summary(folder))


if __name__ == "__main__":
    main()
