"""Shards of a field that are more than a process may map: each is mapped when its rows are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from distillkit.errors import StoreError
from distillkit.store.bucket.coming import Shelved
from distillkit.store.format.manifest import File
from distillkit.store.reading.mapping import Window, maps_left

_MOST = 8192  # shards that are mapped at once
_SHARE = 8  # of the maps that are left: two for each shard with a gap behind it, and as many for other fields


class ByNeed(Shelved):
    """`files`: by shard, name and record. `path_of` gives the path of one that has the size that it must have.

    `same`: StoreError where another store has taken the place of this one.
    What was read least recently is unmapped for what is read now, so rows in any order cost what opening files costs.
    """

    def __init__(
        self,
        files: Sequence[tuple[str, File]],
        rows_per_shard: int,
        window: Window,
        path_of: Callable[[str, int], Path],
        same: Callable[[], None],
    ):
        super().__init__(rows_per_shard, window)
        window.stays()
        self._files, self._path_of, self._same = files, path_of, same
        self.room = max(min(_MOST, maps_left() // _SHARE), 4)

    @property
    def most(self) -> int:
        """A part of the room: several threads read."""
        return int(self.room) // 4

    def fetch(self, shards: Sequence[int]) -> None:
        """They are here."""

    def open(self, shard: int) -> BinaryIO:
        name, record = self._files[shard]
        file = self._path_of(name, record.bytes).open("rb")
        try:
            self._same()  # after it was opened: what takes its place from now on is another file
        except StoreError:
            file.close()
            raise
        return file

    def gone(self, shards: Sequence[int]) -> StoreError:
        names = ", ".join(self._files[shard][0] for shard in shards[:3])
        return StoreError(f"{names}: gone while they were read; run the same command again")
