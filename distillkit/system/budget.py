"""Memory that threads share by asking first: what is too much waits for its turn, and never for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any


class Budget:
    """`limit()` bytes, held by whoever took them; asked when the first one takes some.

    Who asks first gets first. More than the limit is given to one alone, when nobody else has any; `alone`, a lock that
    several processes share, keeps the others' large ones away meanwhile.
    """

    def __init__(self, limit: Callable[[], int], alone: Any = None):
        self._limit, self.alone = limit, alone
        self._known: int | None = None
        self._changed = threading.Condition()
        self._held = self._tickets = self._turn = 0

    @property
    def limit(self) -> int:
        """In bytes."""
        if self._known is None:
            self._known = max(self._limit(), 1)
        return self._known

    def take(self, size: int) -> None:
        """Wait until `size` bytes are free, and have them."""
        with self._changed:
            ticket, self._tickets = self._tickets, self._tickets + 1
            self._changed.wait_for(
                lambda: self._turn == ticket and (self._held == 0 or self._held + size <= self.limit)
            )
            self._turn, self._held = self._turn + 1, self._held + size
            self._changed.notify_all()

    def add(self, size: int) -> None:
        """More for one who has some already, at once: two who waited for each other would wait for ever."""
        with self._changed:
            self._held += size

    def give(self, size: int) -> None:
        """Back."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Have `size` bytes within."""
        with self.alone if self.alone is not None and size > self.limit else nullcontext():
            self.take(size)
            try:
                yield
            finally:
                self.give(size)
