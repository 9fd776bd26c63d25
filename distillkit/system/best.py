"""RUN/best: the weights that did best in a validation. What their student is, and of what it was made, RUN says."""

from __future__ import annotations

from pathlib import Path

FOLDER = "best"
RECORD = "best.json"  # written last: which step, and how well it did
BY = "validation"  # in the record: the eval, digests of its stores and files; absent from runs of older versions


def is_best(folder: Path) -> bool:
    """Whether selected weights lie here."""
    return (folder / RECORD).is_file()


def run_of(folder: Path) -> Path:
    """The run folder whose student the weights in `folder` are: of RUN/best it is RUN."""
    if not is_best(folder):
        return folder
    return folder.parent if folder.name == FOLDER else folder.absolute().parent
