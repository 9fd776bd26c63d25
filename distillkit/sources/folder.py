"""Images below a folder, recursively; the key is the path below it, and the class the first folder of that path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distillkit.sources._places import IMAGES, folder_at, plain, printable
from distillkit.types import Sample


class Folder:
    """`root`: the folder, or its URL. `classes`: take the first level of folders, in name order, as labels 0, 1, ...

    The order is that of the names, whatever the disk's. On the web only servers that list their folders can be walked.
    """

    def __init__(self, *, root: str, classes: bool = False):
        self._place = folder_at(root)
        self.root, self.classes = self._place.root, classes

    def read(self, location: str) -> bytes | Path:
        """One image, or where it is: its location is the path below the root."""
        return self._place.read(location)

    def __iter__(self) -> Iterator[Sample]:
        labels = {name: number for number, name in enumerate(self._place.folders())} if self.classes else {}
        for name in self._place.walk():
            if Path(name).suffix.lower() in IMAGES:
                yield Sample(printable(name), image=plain(name), label=labels.get(name.split("/")[0]))
