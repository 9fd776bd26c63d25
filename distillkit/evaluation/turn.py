"""What several evaluations of one run write into its folder, they write in turn; they measure at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.system import turns


@contextmanager
def in_turn(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Rows, evaluation.json and the report of `folder` are this process's to read, change and write. Who waits for
    another is told so.
    """
    with turns.in_turn(folder, "evaluation", lambda: say(f"{folder}: another evaluation writes its results; waiting")):
        yield
