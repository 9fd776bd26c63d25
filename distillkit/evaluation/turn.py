"""What several evaluations of one run write into its folder, they write in turn; they measure at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.system.atomic import make_folder
from distillkit.system.locks import locked


@contextmanager
def in_turn(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Rows, evaluation.json and the report of `folder` are this process's to read, change and write. Who waits for
    another is told so.
    """
    place = folder.absolute()  # of "." the name is asked
    make_folder(place.parent)
    lock = place.with_name(f".{place.name}.evaluation.lock")
    with locked(lock, leave=False, waits=lambda: say(f"{folder}: another evaluation writes its results; waiting")):
        yield
