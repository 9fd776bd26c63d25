"""Images below a folder, recursively; the key is the path below it, and the class the first folder of that path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.types import Sample

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


class Folder:
    """`root`: the folder. `classes`: take the first level of folders, in name order, as labels 0, 1, ..."""

    def __init__(self, *, root: str, classes: bool = False):
        self.root = Path(expand(root)).absolute()
        self.classes = classes
        if not self.root.is_dir():
            raise SourceError(f"{self.root}: no such folder of images; mend source.root in the recipe")

    def __iter__(self) -> Iterator[Sample]:
        labels = self._labels() if self.classes else {}
        # Links to folders are not followed: they can leave the root, or lead in circles.
        for folder, subfolders, files in os.walk(self.root):
            subfolders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.suffix.lower() in EXTENSIONS:
                    key = path.relative_to(self.root)
                    yield Sample(_printable(key), image=path, label=labels.get(key.parts[0]))

    def _labels(self) -> dict[str, int]:
        return {path.name: number for number, path in enumerate(sorted(p for p in self.root.iterdir() if p.is_dir()))}


def _printable(path: Path) -> str:
    """The path as text; bytes that are not UTF-8 are written as escapes, so that every key can be stored."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
