"""What several evaluations of one run write into its folder, they write in turn; they measure at once.

Who only reads there takes no turn, as the folder may be one that cannot be written: what is found to be half of one
evaluation and half of another is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.system import turns

Found = TypeVar("Found")

_WHAT = "evaluation"
_PAUSE, _LONGEST = 0.05, 10.0  # seconds


@contextmanager
def in_turn(folder: Path, say: Say) -> Iterator[None]:
    """Rows, evaluation.json and the report of `folder` are this process's to read, change and write. Who waits for
    another is told so.
    """
    with turns.in_turn(folder, _WHAT, lambda: say(f"{folder}: another evaluation writes its results; waiting")):
        yield


def at_rest(folder: Path, read: Callable[[], Found]) -> Found:
    """What `read` finds in `folder` when nobody is writing there: where it fails it is done again, and as long as
    another has its turn.
    """
    until, again = time.monotonic() + _LONGEST, False
    while True:
        try:
            return read()
        except (StoreError, FileNotFoundError):
            if time.monotonic() > until or (again and not turns.lock_of(folder, _WHAT).exists()):
                raise
        again = True
        time.sleep(_PAUSE)
