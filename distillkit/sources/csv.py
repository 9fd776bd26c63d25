"""Image-text pairs from a CSV or TSV file with a header, as CLIP-KD and open_clip use them.

Quoting is off: a caption that starts with a quotation mark must not swallow the rows after it
(what pandas' default does with CLIP-KD's own files).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.sources._lines import numbered_lines
from distillkit.sources._places import below, folder_at, really_below
from distillkit.types import Sample


class Csv:
    """`file`: the table (.gz, .zst too). `root`: where its image paths start (default: its folder). `separator`: tab.

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
        self.image_column, self.text_column, self.separator = image_column, text_column, separator
        # With its root given, images can be read where the table is gone: a store knows all that was in it.
        if root is None and not self.file.is_file():
            raise SourceError(f"{self.file}: no such file; mend source.file in the recipe")
        self.root = folder_at(root or str(self.file.parent))
        if not separator:
            raise SourceError(f"{self.file}: source.separator is empty; give the character between cells")

    def read(self, location: str) -> Path:
        """Where one image is: its location is the path below the root."""
        return below(self.root, location)

    def __iter__(self) -> Iterator[Sample]:
        lines = self._lines()
        _, header = next(lines, (1, [""]))
        for column in (self.image_column, self.text_column):
            if column not in header:
                raise SourceError(f"{self.file}: no column {column!r} in its header {header}; set source.*_column")
        image_at, text_at = header.index(self.image_column), header.index(self.text_column)
        for number, cells in lines:
            if len(cells) != len(header):
                raise SourceError(f"{self.file}:{number}: {len(cells)} cells, the header has {len(header)}")
            name = cells[image_at]
            try:
                path = really_below(self.root, name)
            except SourceError as error:
                raise SourceError(f"{self.file}:{number}: {error}") from error
            # An empty cell is an absent text, not a text without words.
            yield Sample(name, image=path, text=cells[text_at] or None)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Number and cells of each line that is not blank."""
        if not self.file.is_file():
            raise SourceError(f"{self.file}: no such file; mend source.file in the recipe")
        for number, line in numbered_lines(self.file):
            if text := line.rstrip("\r\n"):
                yield number, text.split(self.separator)
