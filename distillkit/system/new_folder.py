"""A new folder that one process makes at a time: nothing of two is mixed, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.errors import DistillkitError
from distillkit.system.atomic import atomic_folder, keep_names, make_folder, noticing_a_full_disk
from distillkit.system.locks import locked
from distillkit.system.temporary import tidy
from distillkit.system.turns import lock_of


@contextmanager
def new_folder(path: Path, error: type[DistillkitError], otherwise: str = "name another folder") -> Iterator[Path]:
    """Fill `path`, which is there whole or not at all (atomic.py); `error` where it is there, or is being made.

    `otherwise`: what the user can do instead, in words.
    """
    refuse_what_is_there(path, error, otherwise)
    with noticing_a_full_disk(path):
        lock = lock_of(path)
        make_folder(lock.parent)
        with locked(lock, wait=False, leave=False) as ours:
            if not ours:
                raise error(f"{path}: another process is making it; wait for that one, or {otherwise}")
            refuse_what_is_there(path, error, otherwise)  # by whoever had the lock before
            with atomic_folder(path) as partial:
                yield partial


def refuse_name_of_a_file(path: Path, error: type[DistillkitError], endings: Collection[str], more: str = "") -> None:
    """`error` for a folder that is named as one file is: whoever did so expects that file."""
    if path.suffix in endings:
        raise error(f"{path}: a folder of files is made; name it {path.with_suffix('')}{more}")


def refuse_what_is_there(path: Path, error: type[DistillkitError], otherwise: str = "name another folder") -> None:
    """`error` where it is there, for good: who made it may have been killed before its name was durable."""
    if path.exists() or path.is_symlink():
        with noticing_a_full_disk(path):
            keep_names(path.parent)
            tidy(path)
        raise error(f"{path}: is there already; move it away, or {otherwise}")
