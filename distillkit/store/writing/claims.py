"""Who writes which shard: many runs may share one store, on one machine or several, and no shard has two writers.

Beside a store lies a lock file: its first byte is the beginning and the end of the store, byte 1 + n is shard n. Who
locks a byte has it until the process ends, however it ends. These are POSIX record locks, which network file systems
keep too (NFS; Lustre and BeeGFS where they are mounted with locks); a run is a process, not a thread.
https://pubs.opengroup.org/onlinepubs/9799919799/functions/fcntl.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO

from distillkit.errors import StoreError
from distillkit.system.atomic import make_folder, may_write, noticing_a_full_disk
from distillkit.system.locks import lock_bytes, unlock_bytes
from distillkit.system.turns import lock_of

_FIRST_SHARD = 1


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `of` parts of every plan: the shards that one run of many takes on."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """ "2/8" is the second of eight parts; ValueError says what is wrong with anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        part = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= part.number <= part.of:
            raise ValueError(f"{text!r} is not one of 1/N, 2/N, ..., N/N")
        return part

    def shards(self, count: int) -> range:
        """The shards of this part: neighbours, because neighbours often lie in one archive."""
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Claims:
    """What this process may write of the store at `store`. Nothing is claimed any more after leaving the context.

    Of a store that can only be read, as another user's, no shard is had, and who asks for none needs no lock: a
    finished one is left alone wherever it lies.
    """

    def __init__(self, store: Path):
        self.store = store
        # One handle for all: a process loses its locks on a file with the first handle of it that it closes.
        self._place = lock_of(store)
        make_folder(self._place.parent)
        self._file: BinaryIO | None = None
        self.refused: OSError | None = None  # why no shard can be claimed here
        with noticing_a_full_disk(self._place):
            try:
                self._file = self._place.open("ab")
            except OSError as error:
                if not store.is_dir() or may_write(store):
                    raise
                self.refused = error

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @contextmanager
    def beginning_or_end(self) -> Iterator[None]:
        """One run at a time; others wait here. It takes seconds."""
        if self._file is None:
            yield
            return
        lock_bytes(self._file, self._place, 0, 1, wait=True)
        try:
            yield
        finally:
            unlock_bytes(self._file, 0, 1)

    def idle(self) -> bool:
        """Whether no other process writes a shard. Asked before the first claim."""
        if self._file is None:
            return True
        free = self._lock(_FIRST_SHARD, 0)
        if free:
            unlock_bytes(self._file, _FIRST_SHARD, 0)
        return free

    def take_all(self) -> None:
        """Claim every shard at once, so of two who begin together one has them; StoreError where others have any."""
        if not self._lock(_FIRST_SHARD, 0):
            raise StoreError(f"{self.store}: another process is extracting here; wait for it or stop it")

    def taken(self, shards: list[int]) -> StoreError:
        """What to tell where others have all of these."""
        return StoreError(f"{self.store}: another process is extracting {_named(shards)} here; wait for it or stop it")

    def leased(self, shards: Iterable[int], done: Callable[[int], bool]) -> Lease:
        """These shards, each claimed when its turn comes, so that a process that joins later finds some to do.

        `done`: whether a shard was committed meanwhile. StoreError, when the first of them is asked for, where another
        process has all that are not.
        """
        wanted = [shard for shard in shards if not done(shard)]
        lease = Lease(self, wanted, done)
        if wanted and lease.at(0) is None and not all(map(done, wanted)):
            raise self.taken(wanted)
        return lease

    def refuse_moving(self) -> None:
        """OSError where no lock can be had: the folder around a store may be ours to write, and the store another's."""
        if self._file is None:
            with noticing_a_full_disk(self._place):
                raise self.refused or OSError(self._place)

    def try_one(self, shard: int) -> bool:
        """Claim a shard, unless another process has it."""
        return self._lock(_FIRST_SHARD + shard, 1)

    def _lock(self, first: int, length: int) -> bool:
        self.refuse_moving()
        assert self._file is not None
        return lock_bytes(self._file, self._place, first, length)


class Lease:
    """Shards in turn, of which each is ours when it is seen. All who go through it, in any thread, see the same."""

    def __init__(self, claims: Claims, wanted: list[int], done: Callable[[int], bool]):
        self.wanted, self._claims, self._left, self._done = wanted, claims, iter(wanted), done
        self._mine: list[int] = []
        self._turn = Lock()

    def at(self, place: int) -> int | None:
        """The shard at that place, claimed by now; None where no more are free."""
        with self._turn:
            while place >= len(self._mine):
                shard = next((one for one in self._left if self._claims.try_one(one) and not self._done(one)), None)
                if shard is None:
                    return None
                self._mine.append(shard)
            return self._mine[place]

    def __iter__(self) -> Iterator[int]:
        for place in count():
            shard = self.at(place)
            if shard is None:
                return
            yield shard


def _named(shards: list[int]) -> str:
    """For people, who count from 1: "shard 3", "shards 3 to 9"."""
    first, last = shards[0] + 1, shards[-1] + 1
    return f"shard {first}" if first == last else f"shards {first} to {last}"
