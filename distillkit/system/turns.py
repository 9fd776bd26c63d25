"""What several processes may write in one place, and one after the other: files that belong together, or a record that
is read, changed and written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.system.atomic import make_folder
from distillkit.system.locks import locked
from distillkit.system.paths import followed
from distillkit.system.temporary import stem


@contextmanager
def in_turn(place: Path, what: str = "", waits: Callable[[], object] | None = None) -> Iterator[None]:
    """One process or thread at a time, of those that write `what` at `place`; `waits` is called by who has to wait.

    NoLocks where the file system has none.
    """
    lock = lock_of(place, what)
    make_folder(lock.parent)
    with locked(lock, leave=False, waits=waits):
        yield


def lock_of(place: Path, what: str = "") -> Path:
    """The lock file beside `place`: the same one by whichever link it is come to, where one can be there."""
    place = followed(place)
    return place.with_name(f".{stem(place)}{what and '.' + what}.lock")
