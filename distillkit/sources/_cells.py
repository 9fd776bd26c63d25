"""The cells of a table in a text file, between tabs or commas, quoted or as they stand.

Captions hold quotation marks, so quotes alone do not make a table quoted: a caption that begins with one would swallow
the rows after it, as pandas' default does with CLIP-KD's own files. Python's csv module, pandas and spreadsheets quote
cells that hold a separator, a line end or a quotation mark, which they double.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from distillkit.errors import SourceError

Lines = Iterable[tuple[int, str]]
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"(?!")')  # a cell from its first quote to its last
# A cell that is quoted, and has quotes in it that are doubled.
_DOUBLED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
# A cell of a table whose writer quotes all that is no number.
_WRAPPED = re.compile(r'".*"|[-+.eE\d]*', re.DOTALL)


class Row(NamedTuple):
    """The cells of a row, the number of the line where it begins, and its lines as they stand."""

    number: int
    cells: list[str]
    lines: list[str]


class OpenQuote(SourceError):
    """A quote that opens in line `line`, in the row that begins in line `row`, and does not close where a cell ends."""

    def __init__(self, told: str, row: int, line: int):
        super().__init__(told)
        self.row, self.line = row, line


def rows(lines: Lines, separator: str, quoted: bool, where: str = "") -> Iterator[Row]:
    """The rows in order; empty lines are none. OpenQuote, with the file `where` and the line, for one that is open."""
    if not quoted:
        stripped = ((number, line.rstrip("\r\n")) for number, line in lines)
        yield from (Row(number, line.split(separator), [line]) for number, line in stripped if line)
        return
    held: list[str] = []  # of the row in hand, which an open quote makes no longer than a cell may be

    def kept() -> Iterator[str]:
        for _, line in lines:
            held.append(line)
            yield line

    reader, last = csv.reader(kept(), delimiter=separator, strict=True), 0
    try:
        for cells in reader:
            if cells:
                yield Row(last + 1, cells, list(held))
            last = reader.line_num
            held.clear()
    except csv.Error as error:
        opened = last + _opening(held, separator)
        raise OpenQuote(_told(where, opened, last + len(held), str(error)), last + 1, opened) from error


def _told(where: str, opened: int, line: int, error: str) -> str:
    if "end of data" in error:
        what, cure = "opens here and is still open where the file ends", "close it, or fetch the file again"
    elif line > opened:
        what, cure = f"opens here and closes only within a cell of line {line}", "close it where its cell ends"
    else:
        what, cure = "opens here and closes before its cell ends", "double the quotes within the cell"
    return (
        f"{where}:{opened}: quotes that do not fit: one {what} ({error}); {cure}; where quotation marks are part of "
        "the text, set source.quoting = false"
    )


def _opening(lines: list[str], separator: str) -> int:
    """In which of the lines of a row, from 1, the quote opens that does not close where its cell ends."""
    text, opened, start = "".join(lines), 0, 0
    while True:
        if text.startswith('"', start):
            opened = start
            cell = _QUOTED.match(text, start)
            if cell is None or not text.startswith((separator, "\r", "\n"), start := cell.end()):
                break
        end = text.find(separator, start)
        if end < 0:
            break
        start = end + len(separator)
    return text.count("\n", 0, opened) + 1


def quoting(read: Callable[[], Lines], separator: str) -> tuple[bool, int | None]:
    """Whether the cells of a table are quoted; and the line of a quote that opens and does not close, None without any.

    They are if fewer rows have more or fewer cells than the header when the table is read as quoted than as it stands;
    or as few, and some cell has doubled quotes in it, all cells below the header but numbers are quoted, or the header
    then is another one. Where a quote does not close, the lines before it decide: a quoted table may have been cut off,
    or have lost a quote. `read` gives all lines, again at each call.
    """
    if len(separator) != 1:
        return False, None
    plain = _Plain.of(read(), separator)
    if not plain.opening:
        return False, None
    quoted = _Shape()
    try:
        for row in rows(read(), separator, quoted=True):
            quoted.add(row.cells)
    except OpenQuote as error:
        before = _Plain.of(((number, line) for number, line in read() if number < error.row), separator)
        return before.opening and before.is_worse_than(quoted), error.line
    return plain.is_worse_than(quoted), None


class _Shape:
    """How many rows of a table have other cells than its header."""

    def __init__(self) -> None:
        self.header: list[str] = []
        self.odd = 0

    def add(self, cells: list[str]) -> None:
        if not self.header:
            self.header = cells
        self.odd += len(cells) != len(self.header)


class _Plain(_Shape):
    """The same of a table as it stands, and what its quotes tell: whether one opens a cell, some cell has `doubled`
    ones, all cells below the header are `wrapped` in them."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.doubled, self.wrapped = False, False, True

    @classmethod
    def of(cls, lines: Lines, separator: str) -> _Plain:
        made = cls()
        for row in rows(lines, separator, quoted=False):
            made.wrapped &= not made.header or all(map(_WRAPPED.fullmatch, row.cells))
            made.add(row.cells)
            opened = [cell for cell in row.cells if cell.startswith('"')]
            made.opening |= bool(opened)
            made.doubled |= any(_DOUBLED.fullmatch(cell) for cell in opened)
        return made

    def is_worse_than(self, quoted: _Shape) -> bool:
        """Whether the table is quoted, of which both are known."""
        telling = self.doubled or self.wrapped or quoted.header != self.header
        return quoted.odd < self.odd or (quoted.odd == self.odd and telling)
