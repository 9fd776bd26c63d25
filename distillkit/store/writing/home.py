"""Where a writer's store lives: on a disk, or in a bucket, where files go as soon as they are written.

Either way a file that proves something (the plan, a commit, the manifest) is seen when all that it speaks of is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import Origin, origin
from distillkit.system.atomic import remove_file, set_aside, sync, write_json


class Disk:
    """The folder `path`: what is written there is where it belongs."""

    def __init__(self, path: Path):
        self.path = path

    def refresh(self) -> None:
        """See what other machines have done."""

    def settle(self, folders: Iterable[str]) -> None:
        """Make durable what is named in these folders: who made it may have been killed before it was."""
        for name in folders:
            if (self.path / name).is_dir():
                sync(self.path / name)

    def has(self, name: str, size: int) -> bool:
        """Whether a file is there, with so many bytes."""
        path = self.path / name
        return path.is_file() and path.stat().st_size == size

    def holds(self, name: str) -> bool:
        """Whether a file is there, of whatever size."""
        return (self.path / name).is_file()

    def bring(self, names: Iterable[str]) -> None:
        """Files that are written are to be there."""

    def prove(self, name: str, value: Any) -> None:
        """Write what proves that other files are whole."""
        write_json(self.path / name, value)

    def remove(self, name: str) -> None:
        """From here on nothing proves that other files are whole."""
        remove_file(self.path / name)

    def release(self, names: Iterable[str]) -> None:
        """These files are not needed here any more."""

    def set_aside(self, mark: str) -> Path:
        """Move the store out of the way, and say where to. Nothing is deleted."""
        return set_aside(self.path, mark)


class Bucket:
    """The URL that the folder `path` stands for, which holds the shard in hand and what tells what is done."""

    def __init__(self, path: Path, there: Origin):
        self.path, self._origin = path, there

    def refresh(self) -> None:
        self._there = self._origin.pull()

    def settle(self, folders: Iterable[str]) -> None:
        """What is in a bucket stays there."""

    def has(self, name: str, size: int) -> bool:
        return self._there.get(name) == size

    def holds(self, name: str) -> bool:
        return name in self._there

    def bring(self, names: Iterable[str]) -> None:
        self._origin.push(names)

    def prove(self, name: str, value: Any) -> None:
        self._origin.prove(name, value)

    def remove(self, name: str) -> None:
        self._origin.remove(name)
        (self.path / name).unlink(missing_ok=True)

    def release(self, names: Iterable[str]) -> None:
        for name in names:
            (self.path / name).unlink()

    def set_aside(self, mark: str) -> Path:
        raise StoreError(
            f"{self._origin.url}: holds a store of another recipe, and a bucket cannot rename it; choose another "
            "`out`, or remove it"
        )


def home_of(path: Path) -> Disk | Bucket:
    """Where what is written at `path` belongs."""
    there = origin(path)
    return Disk(path) if there is None else Bucket(path, there)
