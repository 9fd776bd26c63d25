"""The store that an addition belongs to: when the addition is finished, it must be the one that it was made for.

A store that grew or was mended is replaced as a whole, maybe while somebody mines in it; an addition of other rows
would keep it from being opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.errors import StoreError
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.additions import FOLDER
from distillkit.store.writing.claims import Claims


@contextmanager
def kept_as_it_is(path: Path, plan: str) -> Iterator[None]:
    """While this lasts nobody replaces the store to which what lies at `path` is an addition, if it is one.

    StoreError where that store has another plan than this by now.
    """
    if path.parent.name != FOLDER:
        yield
        return
    base = path.parent.parent
    with Claims(base) as claims, claims.beginning_or_end():
        if Manifest.read(base).source["plan"] != plan:
            raise StoreError(
                f"{base}: has other rows since {path.name} was begun for it (it grew?); run the same command again"
            )
        yield
