"""Nearest texts at k = 256 by exact search, all rows in memory, beside what one would write with FAISS or torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch

from distillkit.mining.exact import Exact
from distillkit.mining.vectors import Vectors
from tests.bench.clustered import WIDTH, Clustered, clustered_store
from tests.bench.measure import Row, compare

K = 256
_FAISS_THRESHOLD = faiss.cvar.distance_compute_blas_threshold


def run(folder: Path, quick: bool) -> list[Row]:
    texts, count, rounds = (1_000, 256, 2) if quick else (200_000, 2048, 5)
    vectors = Vectors.of(clustered_store(folder / "texts", texts, 4096 if quick else 65_536, seed=0), "text")
    many = Clustered().draw(count, seed=10_000)
    few = many[:128]
    search = Exact(vectors, len(vectors))
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(vectors.unit(slice(None)))
    table = torch.from_numpy(vectors.unit(slice(None)))
    size = f"{len(vectors):,} texts"

    def row(name: str, ours: Callable[[], object], theirs: Callable[[], object], goal: float, amount: int) -> Row:
        return compare(name, ours, theirs, goal=goal, amount=amount, unit="queries/s", rounds=rounds)

    return [
        row(
            f"exact mining of {size} / FAISS IndexFlatIP, {count} queries",
            lambda: search.search(many, K),
            lambda: _plain_faiss(flat, many),
            0.98,
            count,
        ),
        row(
            f"exact mining of {size} / torch matmul and topk by blocks",
            lambda: search.search(many, K),
            lambda: _plain_torch(table, torch.from_numpy(many)),
            1.25,
            count,
        ),
        row(
            f"exact mining of {size} / FAISS IndexFlatIP, 128 queries a call",
            lambda: search.search(few, K),
            lambda: _plain_faiss(flat, few),
            8.0,
            128,
        ),
    ]


def _plain_faiss(flat: faiss.IndexFlatIP, queries: np.ndarray) -> None:
    """FAISS as it comes; exact search of ours changes the threshold of the whole process."""
    ours, faiss.cvar.distance_compute_blas_threshold = faiss.cvar.distance_compute_blas_threshold, _FAISS_THRESHOLD
    flat.search(queries, K)
    faiss.cvar.distance_compute_blas_threshold = ours


def _plain_torch(table: torch.Tensor, queries: torch.Tensor, block: int = 65_536) -> torch.Tensor:
    """What one would write: scores of a block, its best, and the best of the best."""
    best, places = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for first in range(0, len(table), block):
        scores, where = (queries @ table[first : first + block].T).topk(min(K, len(table) - first), dim=1)
        best, places = torch.cat([best, scores], 1), torch.cat([places, where + first], 1)
        best, order = best.topk(min(K, best.shape[1]), dim=1)
        places = places.gather(1, order)
    return places
