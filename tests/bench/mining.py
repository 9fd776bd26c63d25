"""Nearest texts at k = 256 by a small index and exact ranking, against exact search.

The rows of 50,000, 200,000 and a million texts are what docs/scaling.md is computed from.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from distillkit.mining import index
from distillkit.mining.approximate import Approximate, Effort
from distillkit.mining.cost import VISITED
from distillkit.mining.exact import Exact
from distillkit.mining.memory import watched
from distillkit.mining.recall import reach
from distillkit.mining.vectors import Vectors
from tests.bench.clustered import Clustered, clustered_store
from tests.bench.measure import Row, compare

K = 256
CAP = 2 << 30  # private memory that searching a million texts may take
_STREAMED = 65_536


def run(folder: Path, quick: bool) -> list[Row]:
    sizes = (500, 1_000, 2_000) if quick else (50_000, 200_000, 1_000_000)
    queries = Clustered().draw(256 if quick else 8192, seed=10_000)
    rows: list[Row] = []
    for size in sizes:
        store = clustered_store(folder / f"texts-{size}", size, 4096 if quick else 65_536, seed=0)
        vectors = Vectors.of(store, "text")
        rows += _approximate(vectors, queries, quick, largest=size == sizes[-1])
        shutil.rmtree(store.path)
    return rows


def _approximate(vectors: Vectors, queries: np.ndarray, quick: bool, *, largest: bool) -> list[Row]:
    """The small index: its speed at a measured recall, what it costs to build, and what is in memory meanwhile."""
    size, kind = len(vectors), "ivf_pq" if len(vectors) > 100_000 else "pq"
    threads, told = len(os.sched_getaffinity(0)), f"{size:,} texts"
    held_out = queries[: 64 if quick else 512]
    with watched() as peak:
        held = peak[0]
        started = time.perf_counter()
        made = index.build(kind, vectors, 0, say=lambda _: None)
        built = time.perf_counter() - started
        true = Exact(vectors, min(_STREAMED, size - 1)).search(held_out, K)
        search = Approximate(kind, made, vectors, Effort(index.lists(size) // VISITED, 4), threads)
        search.effort = search.fitted(search.effort, held_out, K)
        search.search(queries, K)
    rows, exact = [], Exact(vectors, size)  # what it is measured against keeps all rows in memory
    for wanted, goal in ((0.945, 8.0), (0.965, 6.0)) if largest else ((0.98, 1.5 if size > 100_000 else 0.5),):
        recall = reach(wanted, search, held_out, true, lambda _: None)
        row = compare(
            f"mining {told} by {kind} at recall >= {wanted} / exact",
            lambda: search.search(queries, K),
            lambda: exact.search(held_out, K),
            goal=goal * len(held_out) / len(queries),
            amount=1,
            rounds=1 if quick else 3,
        )
        unit = f"queries/s (recall {recall:.4f}, {search.effort})"
        rows.append(_per_query(row, len(queries), len(held_out), goal, unit))
    exact_seconds = size / (rows[-1].theirs or 1.0)
    share, used = built / exact_seconds, (peak[0] - held) / CAP
    rows.append(_single(f"index of {told} by {kind} / exact mining of as many", share, 0.25, built, exact_seconds, "s"))
    if largest:
        rows.append(_single(f"private memory of mining {told} / 2 GiB", used, 1.0, used * CAP, CAP, "bytes"))
    return rows


def _per_query(row: Row, ours: int, theirs: int, goal: float, unit: str) -> Row:
    """A row whose two sides answer different numbers of queries, as rates."""
    times = ours / theirs
    ratios = {name: round(getattr(row, name) * times, 4) for name in ("ratio", "low", "high")}
    rates = {"ours": round(row.ours * ours, 3), "theirs": round(row.theirs * theirs, 3)}
    return replace(row, **ratios, **rates, goal=f">= {goal}", unit=unit)


def _single(name: str, ratio: float, goal: float, ours: float, theirs: float, unit: str) -> Row:
    """Something measured once, with a ceiling."""
    ratio = round(max(ratio, 1e-4), 4)
    rates = {"ours": round(ours, 3), "theirs": round(theirs, 3), "unit": unit}
    return Row(name, f"<= {goal}", ratio <= goal, ratio=ratio, low=ratio, high=ratio, rounds=1, **rates)
