"""Image-text pairs from a CSV or TSV file with a header, as CLIP-KD and open_clip use them.

Quoting is off: a caption that starts with a quotation mark must not swallow the rows after it
(what pandas' default does with CLIP-KD's own files).
"""

from __future__ import annotations

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

    def __iter__(self) -> Iterator[Sample]:
        root = self.root.resolve()
        # newline="\n": a lone carriage return inside a caption is not the end of a row.
        with self.file.open(encoding="utf-8-sig", newline="\n") as lines:
            header = next(lines, "").rstrip("\r\n").split(self.separator)
            for column in (self.image_column, self.text_column):
                if column not in header:
                    raise SourceError(f"{self.file}: no column {column!r} in its header {header}; set source.*_column")
            image_at, text_at = header.index(self.image_column), header.index(self.text_column)
            for number, line in enumerate(lines, start=2):
                cells = line.rstrip("\r\n").split(self.separator)
                if len(cells) != len(header):
                    raise SourceError(f"{self.file}:{number}: {len(cells)} cells, the header has {len(header)}")
                path = self.root / cells[image_at]
                if not path.resolve().is_relative_to(root):
                    raise SourceError(f"{self.file}:{number}: {cells[image_at]!r} leaves {root}; refused")
                yield Sample(cells[image_at], image=self.root / path.relative_to(self.root), text=cells[text_at])
