"""Where a writer's store lives: on a disk, or in a bucket, where files go as soon as they are written.

Either way a file that proves something (the plan, a commit, the manifest) is seen when all that it speaks of is there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.bucket import beginning
from distillkit.store.bucket.remote import PLAN, Origin, origin
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.system.addresses import refuse_secrets_within
from distillkit.system.atomic import (
    as_json,
    atomic_file,
    atomic_folder,
    keep_names,
    make_folder,
    noticing_a_full_disk,
    remove_file,
    set_aside,
    settle,
    write_json,
)
from distillkit.system.paths import followed


class Disk:
    """The folder `path`: what is written there is where it belongs."""

    def __init__(self, path: Path):
        self.path = path

    def refresh(self) -> None:
        """See what other machines have done."""

    def renew(self, names: Iterable[str]) -> None:
        """See these files as others left them."""

    def settle(self, folders: Iterable[str]) -> None:
        """Make durable what is named in these folders: who made it may have been killed before it was."""
        with noticing_a_full_disk(self.path):
            if self.path.is_dir():
                settle(self.path)
            for name in folders:
                if (self.path / name).is_dir():
                    keep_names(self.path / name)

    def has(self, name: str, size: int) -> bool:
        """Whether a file is there, with so many bytes."""
        path = self.path / name
        return path.is_file() and path.stat().st_size == size

    def holds(self, name: str) -> bool:
        """Whether a file is there, of whatever size."""
        return (self.path / name).is_file()

    def bring(self, names: Iterable[str]) -> None:
        """Files that are written are to be there."""

    def begin(self, identity: Any, lay_down: Callable[[Path], None]) -> None:
        """What belongs to no shard, laid down in a folder, and the plan, which says whose store it is from here on.

        All of it appears at once. Where another process was faster, the store is that one's.
        """
        refuse_secrets_within(identity, str(self.path))
        try:
            with atomic_folder(followed(self.path)) as folder:
                lay_down(folder)
                write_json(folder / PLAN, identity)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def refuse_other_files(self) -> None:
        """StoreError where files lie that are no store's: of two who laid down theirs between these, one would
        overwrite the other's.
        """
        refuse_a_view(self.path)
        found = min(self.path.iterdir(), default=None) if self.path.exists() else None
        if found is not None and not self.holds(PLAN):
            raise StoreError(
                f"{self.path}: {found.name} lies here, and no {PLAN}, so this is no store; choose another `out`, or "
                "move away what lies here"
            )

    def prove(self, name: str, value: Any, ours: Callable[[], None]) -> None:
        """Write what proves that other files are whole. `ours` may refuse before it has its name."""
        with atomic_file(self.path / name, within=self.path) as file:
            file.write(as_json(value))
            ours()

    def remove(self, name: str, ours: Callable[[], None]) -> None:
        """From here on nothing proves that other files are whole. `ours` may refuse, then it stays."""
        remove_file(self.path / name, ours)

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
        beginning.tidy(self._origin, self._there)

    def renew(self, names: Iterable[str]) -> None:
        self._origin.renew(names)

    def settle(self, folders: Iterable[str]) -> None:
        """What is in a bucket stays there."""

    def has(self, name: str, size: int) -> bool:
        return self._there.get(name) == size or self._origin.size(name) == size  # a listing may be behind

    def holds(self, name: str) -> bool:
        return name in self._there or self._origin.size(name) is not None

    def bring(self, names: Iterable[str]) -> None:
        self._origin.push(names)

    def refuse_other_files(self) -> None:
        """What lies below the prefix of a store in a bucket is the store's, unless it is a view."""
        refuse_a_view(self.path)

    def begin(self, identity: Any, lay_down: Callable[[Path], None]) -> None:
        refuse_secrets_within(identity, str(self.path))
        # Of a store that was removed from the bucket files may still be here, which are none of this one's.
        make_folder(self.path)
        with TemporaryDirectory(prefix=".begins-", dir=self.path) as fresh:
            lay_down(Path(fresh))
            files = [path.relative_to(fresh).as_posix() for path in Path(fresh).rglob("*") if path.is_file()]
            for name in files:
                make_folder((self.path / name).parent)
                (Path(fresh) / name).replace(self.path / name)
        beginning.begin(self._origin, identity, files)

    def prove(self, name: str, value: Any, ours: Callable[[], None]) -> None:
        ours()
        self._origin.prove(name, value)

    def remove(self, name: str, ours: Callable[[], None]) -> None:
        ours()
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


def refuse_a_view(path: Path) -> None:
    if (path / VIEW).is_file():
        raise StoreError(f"{path}: a view of another store lies here; choose another place")


def home_of(path: Path) -> Disk | Bucket:
    """Where what is written at `path` belongs."""
    there = origin(path)
    return Disk(path) if there is None else Bucket(path, there)
