"""Image-text pairs from a CSV or TSV file with a header, as CLIP-KD and open_clip use them.

Quoting is off: a caption that starts with a quotation mark must not swallow the rows after it
(what pandas' default does with CLIP-KD's own files).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.sources._lines import numbered_lines
from distillkit.sources._places import file_at, folder_at, unusable
from distillkit.types import Sample


class Csv:
    """`file`: the table (.gz, .zst too). `root`: where its image paths start (default: its folder). `separator`: tab.

    The key is the image path as written, so another order gives the same keys; rows stay in the file's order.
    A row with too many or too few cells, or with a path that leaves the root, has the key `file:line` and no image:
    the failure ledger says why. Where already the first row is so, the file is refused: then a knob is wrong.
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
        self.file = file
        self.image_column, self.text_column, self.separator = image_column, text_column, separator
        # With its root given, images can be read where the table is gone: a store knows all that was in it.
        self._place = file_at(file)[0] if root is None else folder_at(root)
        self.root = self._place.root
        if not separator:
            raise SourceError(f"{file}: source.separator is empty; give the character between cells")

    def read(self, location: str) -> bytes | Path:
        """One image, or where it is: its location is the path below the root."""
        return self._place.read(location)

    def __iter__(self) -> Iterator[Sample]:
        place, name = file_at(self.file)
        lines = ((number, line.rstrip("\r\n")) for number, line in numbered_lines(place, name))
        rows = ((number, line.split(self.separator)) for number, line in lines if line)
        _, header = next(rows, (1, [""]))
        for column in (self.image_column, self.text_column):
            if column not in header:
                raise SourceError(
                    f"{place.where(name)}: no column {column!r} in its header {header}; set source.*_column"
                )
        image_at, text_at = header.index(self.image_column), header.index(self.text_column)
        usable = False
        for number, cells in rows:
            try:
                if len(cells) != len(header):
                    raise SourceError(f"{len(cells)} cells, the header has {len(header)}")
                image = self._place.checked(cells[image_at])
            except SourceError as error:
                if not usable:
                    raise SourceError(f"{place.where(name)}:{number}: {error}") from error
                yield Sample(f"{name}:{number}", image=unusable(f"{name}:{number}: {error}"))
                continue
            usable = True
            # An empty cell is an absent text, not a text without words.
            yield Sample(cells[image_at], image=image, text=cells[text_at] or None)
