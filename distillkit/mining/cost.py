"""What each way of searching would take, from rates measured on this machine and a part of these vectors.

exact        n q d multiplications and additions, q queries against n rows
pq           every code is scanned, then the candidates are ranked
ivf_pq       some codes are scanned; the lists cost k-means and an assignment of every row
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distillkit.mining import index
from distillkit.mining.approximate import Approximate, Effort
from distillkit.mining.exact import nearest
from distillkit.mining.vectors import Vectors

_ROWS, _QUERIES = 16_384, 512
VISITED = 8  # one list in so many is visited before recall asks for more


@dataclass(frozen=True)
class Rates:
    """`flops` of exact search a second; seconds to `scan` a code for a query, to `rank` a query, to `add` a row."""

    flops: float
    scan: float = 0.0
    rank: float = 0.0
    add: float = 0.0


@dataclass(frozen=True)
class Cost:
    """Seconds to build an index and to search it, and the bytes it holds."""

    kind: str
    build: float
    search: float
    held: int

    @property
    def seconds(self) -> float:
        return self.build + self.search

    def __str__(self) -> str:
        built = f" ({spell(self.build)} of it for the index)" if self.build else ""
        return f"{self.kind} about {spell(self.seconds)}{built}"


def exact_rate(corpus: Vectors, queries: Vectors, k: int) -> Rates:
    """Half a second of exact search."""
    rows, asked = _part(corpus), queries.unit(queries.sample(_QUERIES, 1))
    return Rates(2 * corpus.width * len(rows) * len(asked) / _timed(lambda: nearest(asked, rows, min(k, len(rows)))))


def all_rates(rates: Rates, corpus: Vectors, queries: Vectors, k: int, candidates: int, threads: int) -> Rates:
    """The rates of scanning too, from a small index that is thrown away."""
    some = corpus.only(corpus.rows[corpus.sample(_ROWS, 2)])
    asked = queries.unit(queries.sample(_QUERIES, 1))
    made = index.build("pq", some, 0, say=lambda _: None)
    block = some.unit(slice(None))
    codes = np.empty((len(block), made.sa_code_size()), np.uint8)
    add = _timed(lambda: made.sa_encode(block, codes)) / len(block)
    many = min(candidates * k, len(some))
    scan = _timed(lambda: made.search(asked, many))
    search = Approximate("pq", made, some, Effort(0, candidates), threads)
    rank = max(_timed(lambda: search.search(asked, min(k, len(some)))) - scan, 0.0)
    return Rates(rates.flops, scan / len(asked) / len(some), rank / len(asked), add)


def seconds_to_read(corpus: Vectors) -> float:
    """To read a row, as a unit vector, from a part of them."""
    rows = min(len(corpus), _ROWS)
    return _timed(lambda: corpus.unit(slice(0, rows))) / rows


def held_bytes(kind: str, rows: int, width: int) -> int:
    """What is in memory however the rest is shared out: row numbers, the index, and what it is trained on."""
    if kind == "exact":
        return 8 * rows
    lists = 4 * width * index.lists(rows) if "ivf" in kind else 0
    trained = index.training_rows(kind, rows)
    # k-means takes as much again as its rows; a rotation takes three times the rows that it is made from.
    trained += max(trained, 3 * min(trained, index.CODED))
    return int(rows * (8 + index.row_bytes(kind, width)) + lists + 4 * width * trained)


def cost(kind: str, rates: Rates, rows: int, queries: int, width: int) -> Cost:
    """What exact, pq or ivf_pq would take."""
    held, multiply = held_bytes(kind, rows, width), 2 * width / rates.flops
    if kind == "exact":
        return Cost(kind, 0.0, queries * rows * multiply, held)
    scanned = rows
    build, each = rows * rates.add, rates.rank
    if kind == "ivf_pq":
        lists = index.lists(rows)
        build += (index.ROUNDS * index.training_rows(kind, rows) + rows) * lists * multiply
        each += lists * multiply
        scanned = rows // VISITED
    return Cost(kind, build, queries * (scanned * rates.scan + each), held)


def spell(seconds: float) -> str:
    """For people: 40 s, 12 min, 3.5 h, 12 days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"


def _part(vectors: Vectors) -> np.ndarray:
    return vectors.unit(vectors.sample(_ROWS, 2))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
