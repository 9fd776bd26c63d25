"""The shards of one field of a store behind a URL: on this disk when they are asked for, and while they are read.

So few rows take few shards, and an epoch in blocks takes each shard once, however small the cache is beside the store.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import BinaryIO, Protocol

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.bucket import cache
from distillkit.store.bucket.remote import Origin
from distillkit.store.format.manifest import File

_TRIES = 20
_SHARE = 4  # of the cache: what one reader wants at the same time


class Shelf(Protocol):
    """Where shards are put to be read. `seconds`: how long they stay there after that."""

    seconds: float

    def put(self, shard: int, file: BinaryIO) -> None: ...
    def drop(self, shard: int) -> None: ...


class Coming:
    """`files`: by shard, name and record. `shelf`: what has them while they are here."""

    def __init__(self, origin: Origin, files: Sequence[tuple[str, File]], rows_per_shard: int, shelf: Shelf):
        self._origin, self._files, self._rows_per_shard, self._shelf = origin, files, rows_per_shard, shelf
        self._put: dict[int, float] = {}  # shards on the shelf and when they were last used, in this order
        self._read: Counter[int] = Counter()  # how many are reading a shard just now
        self._lock = RLock()
        cache.holders.add(self)

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(record.bytes for _, record in self._files)

    def shards(self, first: int, stop: int) -> list[int]:
        """The shards of a run of rows."""
        return list(range(first // self._rows_per_shard, -(-stop // self._rows_per_shard)))

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last, were it full."""
        return shard * self._rows_per_shard, (shard + 1) * self._rows_per_shard

    def portions(self, rows: np.ndarray) -> Iterator[slice | np.ndarray]:
        """Places in `rows`, all at once or, of shards that the cache cannot have together, one part after the other.

        While a part is in hand, its shards are on the shelf.
        """
        shards = rows // self._rows_per_shard
        wanted = np.unique(shards).tolist()
        for first in range(0, len(wanted), self._most):
            part = wanted[first : first + self._most]
            with self.reading(part):
                yield slice(None) if len(part) == len(wanted) else np.flatnonzero(np.isin(shards, part))

    @cached_property
    def _most(self) -> int:
        return max(1, cache.limit() // _SHARE // max(record.bytes for _, record in self._files))

    def fetch(self, shards: Sequence[int]) -> None:
        """Bring shards here, several at once."""
        self._origin.fetch(dict(self._files[shard] for shard in shards))

    @contextmanager
    def reading(self, shards: Sequence[int]) -> Iterator[None]:
        """While this lasts, the shards are on the shelf."""
        for _ in range(_TRIES):
            self.fetch([shard for shard in shards if shard not in self._put])
            if self._taken(shards):
                break
        else:
            raise StoreError(
                f"{self._origin.url}: what is fetched goes again before it is read, so many read at once; set "
                f"{cache.VARIABLE} higher"
            )
        try:
            yield
        finally:
            with self._lock:
                self._read.subtract(shards)
                while self._let_go(time.time() - self._shelf.seconds):
                    pass

    def _taken(self, shards: Sequence[int]) -> bool:
        """Put what is not there on the shelf; False where a file went since it was fetched."""
        with self._lock:
            for shard in shards:
                if shard not in self._put:
                    name, record = self._files[shard]
                    try:
                        with cache.hold(self._origin.path / name) as file:
                            self._check(name, os.fstat(file.fileno()).st_size, record.bytes)
                            self._shelf.put(shard, file)
                    except FileNotFoundError:
                        return False
                self._put.pop(shard, None)
                self._put[shard] = time.time()
            self._read.update(shards)
            return True

    def _check(self, name: str, have: int, want: int) -> None:
        if have != want:
            path = self._origin.path / name
            raise StoreError(f"{path} has {have} bytes instead of {want}; remove it, and it is fetched again")

    def give_back(self) -> bool:
        """Take the shard that was used least recently off the shelf; False where all are being read."""
        return self._let_go(time.time())

    def _let_go(self, before: float) -> bool:
        with self._lock:
            idle = next((shard for shard, used in self._put.items() if used <= before and not self._read[shard]), None)
            if idle is None:
                return False
            self._shelf.drop(idle)
            cache.used(self._origin.path / self._files[idle][0], self._put.pop(idle))
            return True

    def alone(self) -> None:
        """In a forked child: what threads of the parent were about is none of its concern."""
        self._lock, self._read = RLock(), Counter()


def _after_fork() -> None:
    for holder in list(cache.holders):
        if isinstance(holder, Coming):
            holder.alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
