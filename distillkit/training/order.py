"""Which row comes when: every usable row once in a pass, in an order that (seed, corpus, pass) alone decides.

Up to 4 M rows the order is a shuffled list. Beyond that it is computed place by place, so that 40 M rows take no more
memory than one: a Feistel network over the next power of four, walked until it lands inside (Black and Rogaway 2002,
"Ciphers with Arbitrary Finite Domains", https://www.cs.ucdavis.edu/~rogaway/papers/subset.pdf).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from distillkit.store.reading.blocks import ReadAhead
from distillkit.store.reading.reader import FeatureStore

# Independent random streams of one seed.
IMAGES, TEXTS, MASKS, NEAR_TEXTS = 0, 1, 2, 3
_LISTED = 1 << 22
_ROUNDS = 6


class Order:
    """The rows of a store that can be used: all that have features, or those of them in `among`."""

    def __init__(self, store: FeatureStore, seed: int, stream: tuple[int, ...], among: np.ndarray | None = None):
        self.store, self.seed, self.stream, self.among = store, seed, stream, among
        self.failed = store.failed_rows if among is None else np.empty(0, np.int64)
        self.count = len(store) - len(self.failed) if among is None else len(among)
        self._shuffled = lru_cache(maxsize=4)(self._shuffle)

    def __len__(self) -> int:
        return self.count

    def rows(self, turn: int, first: int, stop: int) -> Int64[np.ndarray, "n"]:
        """The rows at places first .. stop-1 of pass number `turn`."""
        stop = min(stop, self.count)
        if self.count <= _LISTED:
            return self._shuffled(turn)[first:stop]
        state = np.random.SeedSequence([self.seed, *self.stream[:1], turn, *self.stream[1:]]).generate_state(_ROUNDS)
        return self.nth(_permuted(np.arange(first, stop), self.count, state))

    def nth(self, places: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        """The row numbers of the usable rows with these numbers: each lies as far on as rows before it have failed."""
        if self.among is not None:
            return self.among[places]
        return places + np.searchsorted(self.failed - np.arange(len(self.failed)), places, side="right")

    def _shuffle(self, turn: int) -> Int64[np.ndarray, "n"]:
        stream, *more = self.stream
        random = np.random.Generator(np.random.PCG64([self.seed, stream, turn, *more]))
        return random.permutation(self.nth(np.arange(self.count)))


def order_of(
    kind: str,
    store: FeatureStore,
    seed: int,
    stream: tuple[int, ...],
    among: np.ndarray | None = None,
    *,
    reads: Callable[[], Sequence[str]],
) -> Order | ReadAhead:
    """The order that `data.order` names. `reads`: the fields that come next, which blocks are read ahead of."""
    if kind == "random":
        return Order(store, seed, stream, among)
    return ReadAhead(
        store.block_order([seed, *stream], among),
        lambda first, stop: store.page_in(reads(), first, stop),
        lambda runs: store.fetch(reads(), runs),
    )


def _permuted(places: Int64[np.ndarray, "n"], count: int, keys: np.ndarray) -> Int64[np.ndarray, "n"]:
    """A permutation of 0 .. count-1, at these places. A Feistel network permutes a power of four; who lands outside
    goes on from there.
    """
    half = np.uint64((int(count - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    out = places.astype(np.uint64)
    outside = np.ones(len(out), bool)
    while outside.any():
        left, right = out[outside] >> half, out[outside] & mask
        for key in keys.astype(np.uint64):
            left, right = right, left ^ (_mixed(right ^ (key << np.uint64(32))) & mask)
        out[outside] = (left << half) | right
        outside = out >= count
    return out.astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser, https://prng.di.unimi.it/splitmix64.c"""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
