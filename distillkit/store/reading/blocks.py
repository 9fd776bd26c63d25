"""Block shuffle: a random order of rows that a spinning disk or an object store can follow.

A block is a run of neighbouring rows of one shard. The blocks are shuffled; sixteen of them make a pool, whose rows are
shuffled among each other. So the disk reads long runs, two pools are all that memory must hold, and still every row
comes once a turn, in an order that the seed alone decides: any places of a turn can be had without those before them.

Of more than sixteen shards, the blocks of one come near each other, among those of sixteen others: the shards are
shuffled, and each block waits for as many of them as chance says, up to sixteen. So of a store behind a URL about two
dozen shards must be here at a time, and each is fetched once a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain

import numpy as np
from jaxtyping import Int64

from distillkit.errors import StoreError
from distillkit.system.wording import count

PageIn = Callable[[int, int], object]
Fetch = Callable[[list[tuple[int, int]]], object]
POOL = 131_072
_BLOCKS = 16  # of a pool
_SHARDS = 16  # whose blocks are shuffled among each other


class BlockOrder:
    """An order for every turn (epoch) over rows 0 to `rows`, without the `failed` ones (ascending).

    `pool`: how many rows are shuffled among each other. `seed`: any integers.
    """

    def __init__(self, rows: int, rows_per_shard: int, failed: np.ndarray, pool: int, seed: Sequence[int]):
        if pool < _BLOCKS:
            raise StoreError(
                f"a pool of {count(pool, 'row')} shuffles nothing; take at least {_BLOCKS}, such as {POOL}"
            )
        self.failed, self.seed = failed, tuple(seed)
        block = min(pool // _BLOCKS, rows_per_shard)
        shards = range(0, rows, rows_per_shard)
        starts = [np.arange(first, min(first + rows_per_shard, rows), block) for first in shards]
        bounds = np.concatenate([*starts, [rows]])
        sizes = np.diff(bounds) - np.diff(np.searchsorted(failed, bounds))
        # Of a view that means few rows of a store, most blocks have none.
        self._blocks = np.stack([bounds[:-1], bounds[1:]], axis=1)[sizes > 0]
        self._sizes = sizes[sizes > 0]
        self._shard_of = self._blocks[:, 0] // rows_per_shard
        self._shards = len(shards)
        self._turn = lru_cache(maxsize=2)(self._shuffled_blocks)
        self._pool = lru_cache(maxsize=4)(self._shuffled_rows)

    def __len__(self) -> int:
        """Rows of a turn."""
        return int(self._sizes.sum())

    def rows(self, turn: int, first: int, stop: int) -> Int64[np.ndarray, "n"]:
        """The rows at places first .. stop-1 of a turn."""
        pools = self.pools(turn, first, stop)
        _, ends = self._turn(turn)
        before = int(ends[pools[0] - 1]) if pools and pools[0] else 0
        found = [self._pool(turn, pool) for pool in pools]
        return np.concatenate([np.empty(0, np.int64), *found])[first - before : stop - before]

    def pools(self, turn: int, first: int, stop: int) -> range:
        """The pools that the rows at these places belong to."""
        _, ends = self._turn(turn)
        stop = min(stop, len(self))
        at = np.searchsorted(ends, (first, stop - 1), side="right")
        return range(int(at[0]), int(at[1]) + 1) if first < stop else range(0)

    def runs(self, turn: int, pool: int) -> list[tuple[int, int]]:
        """The blocks of a pool, in the order of the files: first row, and the row after the last."""
        blocks, _ = self._turn(turn)
        own = np.sort(blocks[pool * _BLOCKS : (pool + 1) * _BLOCKS])
        return [(first, stop) for first, stop in self._blocks[own].tolist()]

    def _shuffled_blocks(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks in the order of a turn, and the place after the last row of each pool of them."""
        random = self._random(turn, 0)
        if self._shards <= _SHARDS:
            blocks = random.permutation(len(self._sizes))
        else:
            place = random.permutation(self._shards)[self._shard_of]
            blocks = np.argsort(place + _SHARDS * random.random(len(place)))
        return blocks, np.add.reduceat(self._sizes[blocks], np.arange(0, len(blocks), _BLOCKS)).cumsum()

    def _shuffled_rows(self, turn: int, pool: int) -> np.ndarray:
        rows = np.concatenate([np.arange(*run) for run in self.runs(turn, pool)])
        low, high = np.searchsorted(self.failed, (rows[0], rows[-1] + 1))
        return self._random(turn, pool + 1).permutation(rows[~np.isin(rows, self.failed[low:high])])

    def _random(self, *place: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([*self.seed, *place]))


class ReadAhead:
    """The same order, whose rows are in memory when it gives them.

    `page_in(first, stop)` is called for each block, a pool ahead, by two threads: while one brings to memory what the
    disk has read, the disk reads for the other. `fetch` is called before with all blocks of a pool, where what is read
    lies on another machine.
    """

    def __init__(self, order: BlockOrder, page_in: PageIn, fetch: Fetch = lambda runs: None):
        self.order = order
        self._coming = lru_cache(maxsize=4)(partial(_ask, ThreadPoolExecutor(2, "read-ahead"), order, page_in, fetch))

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, turn: int, first: int, stop: int) -> Int64[np.ndarray, "n"]:
        """As BlockOrder.rows; waits until they can be read from memory."""
        pools = self.order.pools(turn, first, stop)
        # The pool behind is asked for before this one is waited for, so that the disk never waits.
        coming = [self._coming(turn, pool) for pool in range(pools.start, pools.stop + bool(pools))]
        for run in chain.from_iterable(coming[:-1]):
            run.result()
        return self.order.rows(turn, first, stop)


def _ask(
    threads: ThreadPoolExecutor, order: BlockOrder, page_in: PageIn, fetch: Fetch, turn: int, pool: int
) -> list[Future[object]]:
    runs = order.runs(turn, pool)
    return [threads.submit(fetch, runs), *(threads.submit(page_in, first, stop) for first, stop in runs)]
