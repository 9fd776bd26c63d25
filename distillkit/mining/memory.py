"""How a cap on memory is shared out. Only private memory counts: pages of mapped stores go when others need room."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distillkit.errors import StoreError

_SCRATCH = 96 << 20  # FAISS' blocks of scores, threads' stacks, what Python holds between steps
_LEAST_QUERIES, _LEAST_BLOCK = 256, 4096


@dataclass(frozen=True)
class Share:
    """What is in memory at a time: `queries`, with what was found for them, and a `block` of the corpus."""

    queries: int
    block: int


def private_bytes() -> int:
    """Memory of this process that is its own (not mapped from files); where that is not told, its largest ever."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text("latin-1").splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def share_out(cap: int, held: int, *, width: int, k: int, queries: int, corpus: int) -> Share:
    """Queries get a third of what is left, the block the rest. `held`: bytes that are taken anyway, by an index.

    StoreError, naming the least cap that works, when that is too little.
    """
    each, row = 4 * width + 48 * k, 4 * width
    left = cap - held - _SCRATCH - private_bytes()
    least = min(queries, _LEAST_QUERIES) * each + min(corpus, _LEAST_BLOCK) * row
    if left < least:
        needed = -(-(cap - left + least) // (1 << 20))
        raise StoreError(
            f"max_memory = {cap >> 20} MiB is too little for this search; the least that works: {needed}MiB"
        )
    at_once = min(queries, max(left // 3 // each, _LEAST_QUERIES))
    return Share(int(at_once), int(min(corpus, (left - at_once * each) // row)))


@contextmanager
def watched(every: float = 0.05) -> Iterator[list[int]]:
    """The most private memory seen so far, as the only number of a list, looked at twenty times a second."""
    peak, over = [private_bytes()], threading.Event()

    def look() -> None:
        while not over.wait(every):
            peak[0] = max(peak[0], private_bytes())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
