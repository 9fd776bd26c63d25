"""Images below a folder, recursively; the key is the path below it, and the class the first folder of that path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from distillkit.sources._places import IMAGES, below, folder_at, printable
from distillkit.types import Sample


class Folder:
    """`root`: the folder. `classes`: take the first level of folders, in name order, as labels 0, 1, ..."""

    def __init__(self, *, root: str, classes: bool = False):
        self.root = folder_at(root)
        self.classes = classes

    def read(self, location: str) -> Path:
        """Where one image is: its location is the path below the root."""
        return below(self.root, location)

    def __iter__(self) -> Iterator[Sample]:
        labels = self._labels() if self.classes else {}
        # Links to folders are not followed: they can leave the root, or lead in circles.
        for folder, subfolders, files in os.walk(self.root):
            subfolders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.suffix.lower() in IMAGES:
                    key = path.relative_to(self.root)
                    yield Sample(printable(key.as_posix()), image=path, label=labels.get(key.parts[0]))

    def _labels(self) -> dict[str, int]:
        return {path.name: number for number, path in enumerate(sorted(p for p in self.root.iterdir() if p.is_dir()))}
