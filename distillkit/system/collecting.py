"""Python's search for garbage, paused: where millions of objects are made that all stay, it takes most of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No search while this lasts, in any thread; what is counted is still freed at once."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if not gc.get_freeze_count():  # else who froze them wants them to stay frozen
                # They are old at once, in place of being searched as young ones by the next allocation.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
