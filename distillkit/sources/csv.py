"""Image-text pairs from a CSV or TSV file with a header, as CLIP-KD and open_clip use them.

Quoting is off: a caption that starts with a quotation mark must not swallow the rows after it
(what pandas' default does with CLIP-KD's own files).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.types import Sample


class Csv:
    """`file`: the table. `root`: where its image paths start (default: the table's folder). `separator`: default tab.

    The key is the image path as written; a row with too many or too few cells stops the run and names its line.
    """

    def __init__(
        self,
        *,
        file: str,
        root: str | None = None,
        image_column: str = "filepath",
        text_column: str = "title",
        separator: str = "\t",
    ):
        self.file = Path(expand(file)).absolute()
        self.root = Path(expand(root)).absolute() if root else self.file.parent
        self.image_column, self.text_column, self.separator = image_column, text_column, separator
        if not self.file.is_file():
            raise SourceError(f"{self.file}: no such file; mend source.file in the recipe")
        if not self.root.is_dir():
            raise SourceError(f"{self.root}: no such folder of images; mend source.root in the recipe")
        if not separator:
            raise SourceError(f"{self.file}: source.separator is empty; give the character between cells")

    def __iter__(self) -> Iterator[Sample]:
        lines = self._lines()
        _, header = next(lines, (1, [""]))
        for column in (self.image_column, self.text_column):
            if column not in header:
                raise SourceError(f"{self.file}: no column {column!r} in its header {header}; set source.*_column")
        image_at, text_at = header.index(self.image_column), header.index(self.text_column)
        root = os.path.realpath(self.root)
        for number, cells in lines:
            if len(cells) != len(header):
                raise SourceError(f"{self.file}:{number}: {len(cells)} cells, the header has {len(header)}")
            name = cells[image_at]
            if not name or "\0" in name:
                raise SourceError(f"{self.file}:{number}: {name!r} is no path of an image")
            path = self.root / name
            if not (path.is_relative_to(self.root) and Path(os.path.realpath(path)).is_relative_to(root)):
                raise SourceError(
                    f"{self.file}:{number}: {name!r} leaves {root}; refused (source.root may be set higher)"
                )
            # An empty cell is an absent text, not a text without words.
            yield Sample(name, image=path, text=cells[text_at] or None)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Number and cells of each line that is not blank. Only a line feed ends a line: captions may hold a CR."""
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise SourceError(f"{self.file}:{number}: not UTF-8 ({error.reason}); convert the file") from error
                if text:
                    yield number, text.split(self.separator)
