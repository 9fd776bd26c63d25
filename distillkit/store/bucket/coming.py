"""The shards of one field of a store behind a URL: on this disk when they are asked for, and while they are read.

So few rows take few shards, and an epoch in blocks takes each shard once, however small the cache is beside the store.
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import BinaryIO, Protocol
from weakref import WeakSet

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.bucket import cache
from distillkit.store.bucket.remote import Origin
from distillkit.store.format.manifest import File

_TRIES = 20
_SHARE = 4  # of the cache: what one reader wants at the same time
_AT_ONCE = 256  # shards that one reader wants at the same time: each may be an open file
_MAPPED = 8192  # shards that stay mapped after they were read; a process has 65,530 maps


class Shelf(Protocol):
    """Where shards are put to be read. `seconds`: how long they stay there after that."""

    seconds: float

    def put(self, shard: int, file: BinaryIO) -> None: ...
    def drop(self, shard: int) -> None: ...


class Shelved(ABC):
    """Shards that are put on a shelf to be read, and taken off it again. Any number of threads may read."""

    size = 0  # bytes of all shards, where they have to be fetched
    room: float = math.inf  # how many shards may be on the shelf, beside those that are being read

    def __init__(self, rows_per_shard: int, shelf: Shelf):
        self._rows_per_shard, self._shelf = rows_per_shard, shelf
        self._put: dict[int, float] = {}  # shards on the shelf and when they were last used, in this order
        self._read: Counter[int] = Counter()  # how many are reading a shard just now
        self._lock = RLock()
        _all.add(self)

    @property
    @abstractmethod
    def most(self) -> int:
        """How many shards one reader wants at the same time."""

    @abstractmethod
    def fetch(self, shards: Sequence[int]) -> None:
        """Bring shards here, several at once."""

    @abstractmethod
    def open(self, shard: int) -> BinaryIO:
        """The file of a shard; FileNotFoundError where it went since it was fetched."""

    @abstractmethod
    def gone(self, shards: Sequence[int]) -> StoreError:
        """What is told where shards go again and again."""

    def shards(self, first: int, stop: int) -> list[int]:
        """The shards of a run of rows."""
        return list(range(first // self._rows_per_shard, -(-stop // self._rows_per_shard)))

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last, were it full."""
        return shard * self._rows_per_shard, (shard + 1) * self._rows_per_shard

    def portions(self, rows: np.ndarray) -> Iterator[slice | np.ndarray]:
        """Places in `rows`, all at once or, of shards that cannot be had together, one part after the other.

        While a part is in hand, its shards are on the shelf.
        """
        shards = rows // self._rows_per_shard
        wanted = np.unique(shards).tolist()
        for first in range(0, len(wanted), self.most):
            part = wanted[first : first + self.most]
            with self.reading(part):
                yield slice(None) if len(part) == len(wanted) else np.flatnonzero(np.isin(shards, part))

    @contextmanager
    def reading(self, shards: Sequence[int]) -> Iterator[None]:
        """While this lasts, the shards are on the shelf."""
        for _ in range(_TRIES):
            self.fetch([shard for shard in shards if shard not in self._put])
            if self._taken(shards):
                break
        else:
            raise self.gone(shards)
        try:
            yield
        finally:
            with self._lock:
                self._read.subtract(shards)
                while self._let_go(time.time() - self._shelf.seconds):
                    pass

    def _taken(self, shards: Sequence[int]) -> bool:
        """Put what is not there on the shelf; False where a file went since it was fetched."""
        there = False
        with self._lock:
            self._read.update(shards)  # before the first is put: room for the last must not be made by taking it off
            try:
                for shard in shards:
                    self._put_on(shard)
                there = True
            except FileNotFoundError:
                return False
            finally:
                if not there:
                    self._read.subtract(shards)
        return True

    def _put_on(self, shard: int) -> None:
        if shard not in self._put:
            while len(self._put) >= self.room and self.give_back():
                pass
            with self.open(shard) as file:
                self._shelf.put(shard, file)
        self._put.pop(shard, None)
        self._put[shard] = time.time()

    def give_back(self) -> bool:
        """Take the shard that was used least recently off the shelf; False where all are being read."""
        return self._let_go(time.time())

    def _let_go(self, before: float) -> bool:
        with self._lock:
            idle = next((shard for shard, used in self._put.items() if used <= before and not self._read[shard]), None)
            if idle is None:
                return False
            self._shelf.drop(idle)
            self.dropped(idle, self._put.pop(idle))
            return True

    def dropped(self, shard: int, used: float) -> None:
        """A shard was taken off the shelf; it was last used then."""
        return

    def alone(self) -> None:
        """In a forked child: what threads of the parent were about is none of its concern."""
        self._lock, self._read = RLock(), Counter()


class Coming(Shelved):
    """Shards of a store behind a URL. `files`: by shard, name and record. `shelf`: has them while they are here."""

    room = _MAPPED

    def __init__(self, origin: Origin, files: Sequence[tuple[str, File]], rows_per_shard: int, shelf: Shelf):
        super().__init__(rows_per_shard, shelf)
        self._origin, self._files = origin, files
        self.size = sum(record.bytes for _, record in files)
        cache.holders.add(self)

    @cached_property
    def most(self) -> int:
        """As many as may be in a part of the cache, and open."""
        fit = cache.limit() // _SHARE // max(record.bytes for _, record in self._files)
        return max(1, min(fit, _AT_ONCE))

    def fetch(self, shards: Sequence[int]) -> None:
        self._origin.fetch(dict(self._files[shard] for shard in shards))

    def open(self, shard: int) -> BinaryIO:
        """It stays in the cache while it is read. StoreError where it has another size than it must have."""
        name, record = self._files[shard]
        file, path = cache.hold(self._origin.path / name), self._origin.path / name
        have = os.fstat(file.fileno()).st_size
        if have != record.bytes:
            file.close()
            raise StoreError(f"{path} has {have} bytes instead of {record.bytes}; remove it, and it is fetched again")
        return file

    def gone(self, shards: Sequence[int]) -> StoreError:
        return StoreError(
            f"{self._origin.url}: what is fetched goes again before it is read, so many read at once; set "
            f"{cache.VARIABLE} higher"
        )

    def dropped(self, shard: int, used: float) -> None:
        cache.used(self._origin.path / self._files[shard][0], used)


_all: WeakSet[Shelved] = WeakSet()  # of this process


def _after_fork() -> None:
    for one in list(_all):
        one.alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
