"""Python's search for garbage, paused: where millions of objects are made that all stay, it takes most of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 50_000  # objects: of fewer a search costs milliseconds


@contextmanager
def paused() -> Iterator[None]:
    """No search while this lasts, in any thread; what is counted is still freed at once."""
    was, before = gc.isenabled(), gc.get_count()[0]
    gc.disable()
    try:
        yield
    finally:
        if was:
            # Who froze objects before wants them to stay frozen.
            if gc.get_count()[0] - before > _MANY and not gc.get_freeze_count():
                # They are old at once, in place of being searched as young ones by the next allocation. So is garbage
                # that was young, and Python does not look among the old again before they are many more.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
