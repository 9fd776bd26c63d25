"""What a plan costs: its time beside reading the corpus, its digest beside version 1's, and memory per row."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

from distillkit.store.format.plan import make_plan, plan_digest
from distillkit.types import Sample
from tests.bench.measure import Row, at_most, compare


def run(folder: Path, quick: bool) -> list[Row]:
    rows = 20_000 if quick else 1_000_000
    plan, _ = make_plan(_samples(rows), None, folder)

    def listed() -> None:
        for _ in _samples(rows):
            pass

    rounds = 3 if quick else 5
    digest = compare(
        f"digest of a plan of {rows:,} rows: columns / version 1, which hashes rows",
        lambda: plan_digest(plan),
        lambda: plan_digest(plan, 1),
        goal=5,
        amount=rows,
        unit="rows/s",
        rounds=rounds,
    )
    planning = compare(
        f"planning {rows:,} samples / making the samples",
        lambda: make_plan(_samples(rows), None, folder),
        listed,
        goal=5,
        rounds=rounds,
        speed=False,
    )
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        grown = pool.apply(_private_bytes, (4 * rows, folder))
    memory = at_most(f"private memory of a plan of {4 * rows:,} rows", [grown / (4 * rows)], 32, "bytes/row")
    return [digest, planning, memory]


def _samples(count: int) -> Iterator[Sample]:
    """As of image-text pairs in tars; some 150 bytes a row."""
    for number in range(count):
        place = f"{number // 10_000:05d}.tar@{number * 512}+40000"
        text = f"a photograph of a dog that sits on a red sofa near a window, number {number}"
        yield Sample(f"{number:012d}", image=place, text=text)


def _private_bytes(count: int, folder: Path) -> int:
    """By how much the private memory of a new process grows with a plan; what the rows say is in the page cache."""
    before = _private()
    plan, _ = make_plan(_samples(count), None, folder)
    assert plan.num_rows == count
    return max(1, _private() - before)


def _private() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
