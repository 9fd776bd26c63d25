"""The cells of a table in a text file, between tabs or commas, quoted or as they stand.

Captions hold quotation marks, so quotes alone do not make a table quoted: a caption that begins with one would swallow
the rows after it, as pandas' default does with CLIP-KD's own files. Python's csv module, pandas and spreadsheets quote
cells that hold a separator, a line end or a quotation mark, which they double.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator

from distillkit.errors import SourceError

Lines = Iterable[tuple[int, str]]
# A cell that is quoted, and has quotes in it that are doubled.
_DOUBLED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
# A cell of a table whose writer quotes all that is no number.
_WRAPPED = re.compile(r'".*"|[-+.eE\d]*', re.DOTALL)


def rows(lines: Lines, separator: str, quoted: bool, where: str = "") -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the number of the line where it begins; empty lines are no rows.

    SourceError, with the file `where` and the line, where quotes do not close.
    """
    if not quoted:
        stripped = ((number, line.rstrip("\r\n")) for number, line in lines)
        yield from ((number, line.split(separator)) for number, line in stripped if line)
        return
    reader, last = csv.reader((line for _, line in lines), delimiter=separator, strict=True), 0
    try:
        for cells in reader:
            if cells:
                yield last + 1, cells
            last = reader.line_num
    except csv.Error as error:
        raise SourceError(
            f"{where}:{last + 1}: quotes that do not fit ({error}); where quotation marks are part of the text, set "
            "source.quoting = false"
        ) from error


def are_quoted(read: Callable[[], Lines], separator: str) -> bool:
    """Whether a table is quoted: read as if it were, it holds together, and better than as it stands; or, where both
    are the same, some cell has doubled quotes in it, or all cells below the header are quoted that are no numbers.
    `read` gives all lines, again at each call.
    """
    if len(separator) != 1:
        return False
    plain, opening, doubled, wrapped = _Shape(), False, False, True
    for _, cells in rows(read(), separator, quoted=False):
        wrapped &= not plain.header or all(map(_WRAPPED.fullmatch, cells))
        plain.add(cells)
        opened = [cell for cell in cells if cell.startswith('"')]
        opening |= bool(opened)
        doubled |= any(_DOUBLED.fullmatch(cell) for cell in opened)
    if not opening:
        return False
    quoted = _Shape()
    try:
        for _, cells in rows(read(), separator, quoted=True):
            quoted.add(cells)
    except SourceError:
        return False
    telling = doubled or wrapped or quoted.header != plain.header
    return quoted.odd < plain.odd or (quoted.odd == plain.odd and telling)


class _Shape:
    """How many rows of a table have other cells than its header."""

    def __init__(self) -> None:
        self.header: list[str] = []
        self.odd = 0

    def add(self, cells: list[str]) -> None:
        if not self.header:
            self.header = cells
        self.odd += len(cells) != len(self.header)
