"""A part of a corpus, of whatever source: by patterns of keys, by size, by number, by lot.

    include, exclude -> min_side -> sample -> limit

Composed around a source when a corpus is planned; images are read from the source itself, as ever. Rows keep the
source's order.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fsspec.utils import glob_translate

from distillkit.pixels.pillow import size_of_file
from distillkit.recipe import Corpus
from distillkit.types import Sample


class Narrowed:
    """Yields the samples of `source` that the corpus is narrowed to; `passed` counts why others were not taken."""

    def __init__(self, source: Any, corpus: Corpus):
        self.behind, self.corpus = source, corpus
        self.passed: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Sample]:
        self.passed = Counter()
        samples: Iterable[Sample] = self._fitting(self.behind)
        if self.corpus.sample is not None:
            samples = _drawn(samples, self.corpus.sample.n, self.corpus.sample.seed)
        return _first(samples, self.corpus.limit) if self.corpus.limit is not None else iter(samples)

    @property
    def told(self) -> str:
        """What to add to a source's own account."""
        chosen = [f"the first {self.corpus.limit:,}"] if self.corpus.limit is not None else []
        if self.corpus.sample is not None:
            chosen.insert(0, f"{self.corpus.sample.n:,} drawn with seed {self.corpus.sample.seed}")
        return "; ".join([*(f"{number:,} {why}" for why, number in self.passed.items()), *chosen])

    def _fitting(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        wanted, unwanted = (_matching(patterns) for patterns in (self.corpus.include, self.corpus.exclude))
        for sample in samples:
            if self.corpus.include and not wanted(sample.key):
                self.passed["of no pattern of include"] += 1
            elif unwanted(sample.key):
                self.passed["of a pattern of exclude"] += 1
            elif self.corpus.min_side is not None and self._is_small(sample, self.corpus.min_side):
                self.passed[f"with a side below {self.corpus.min_side} pixels"] += 1
            else:
                yield sample

    def _is_small(self, sample: Sample, side: int) -> bool:
        """By its header; an image that has none is kept, for the failure ledger to say why."""
        if sample.image is None:
            return False
        image = sample.image if isinstance(sample.image, Path) else self.behind.read(sample.image)
        size = size_of_file(io.BytesIO(image) if isinstance(image, bytes) else image)
        return size is not None and min(size) < side


def _matching(patterns: list[str]) -> Any:
    """Whether a key fits any of them: `*.png` its last part, `cats/**` the whole of it."""
    fits = [(re.compile(glob_translate(pattern)), "/" in pattern) for pattern in patterns]
    return lambda key: any(fit.fullmatch(key if whole else key.rpartition("/")[2]) for fit, whole in fits)


def _drawn(samples: Iterable[Sample], n: int, seed: int) -> Iterator[Sample]:
    """The n keys of the smallest hashes with the seed: always the same ones, whatever the order; rows of one key are
    one draw. Memory holds those n samples."""
    heap: list[tuple[int, int]] = []  # minus the hash, so that the largest leaves first; its place
    kept: dict[int, list[Sample]] = {}  # by hash, which is as good as its key
    for place, sample in enumerate(samples):
        mark = _mark(seed, sample.key)
        if mark in kept:
            kept[mark].append(sample)
        elif len(heap) < n:
            heapq.heappush(heap, (-mark, place))
            kept[mark] = [sample]
        elif mark < -heap[0][0]:
            gone, _ = heapq.heapreplace(heap, (-mark, place))
            del kept[-gone]
            kept[mark] = [sample]
    for _, mark in sorted((place, -minus) for minus, place in heap):
        yield from kept[mark]


def _mark(seed: int, key: str) -> int:
    said = f"{seed}:{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(said, digest_size=16).digest())


def _first(samples: Iterable[Sample], limit: int) -> Iterator[Sample]:
    """Samples until their keys are so many different ones."""
    keys: set[str] = set()
    for sample in samples:
        if sample.key not in keys and len(keys) == limit:
            return
        keys.add(sample.key)
        yield sample
