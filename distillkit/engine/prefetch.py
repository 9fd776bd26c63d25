"""The next item of an iterator is made by another thread while this one is in use."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item], thread: ThreadPoolExecutor) -> Generator[Item, None, None]:
    """The same items in the same order, one ahead. An error comes where its item would have come."""
    end = object()
    coming = thread.submit(next, items, end)
    while (item := coming.result()) is not end:
        coming = thread.submit(next, items, end)
        yield item  # type: ignore[misc]
