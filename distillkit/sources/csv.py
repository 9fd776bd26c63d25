"""Image-text pairs from a CSV or TSV file with a header, as CLIP-KD and open_clip use them, or as exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._captions import Captions, numbered_through, with_captions
from distillkit.sources._cells import Lines, Row, quoting, rows
from distillkit.sources._folder_classes import FolderClasses
from distillkit.sources._lines import is_text, numbered_lines
from distillkit.sources._places import file_at, folder_at, printable, unusable
from distillkit.system.wording import count
from distillkit.types import Sample


class Csv:
    """`file`: the table, which may be packed (.gz, .zst). `root`: the folder that image paths start from; the folder of
    the table, if not given. `separator`: the character between cells; most files that end in .csv want ",".

    `text_column`: the column of captions; "title" if not given and the table has one. `quoting`: whether cells may
    stand in quotation marks; "auto" reads the table both ways and takes the one by which it has fewer odd rows.
    `key_column`: the column of keys, which must be unique in the corpus; the image path as written, if not given.
    Another order of the rows gives the same keys; the store has the file's order. A row with too many or too few cells,
    or with a path that leaves the root, has the key `file:line` and no image: the failure ledger says why. If the first
    row is like that, the file is refused, as a knob is wrong then.
    """

    def __init__(
        self,
        *,
        file: str,
        root: str | None = None,
        image_column: str = "filepath",
        text_column: str | None = None,
        label_column: str | None = None,
        key_column: str | None = None,
        captions: Captions = "whole",
        separator: str = "\t",
        quoting: bool | Literal["auto"] = "auto",
        follow_links: bool = False,
        classes: bool = False,
    ):
        self._classes = FolderClasses(classes, label_column, "label_column")
        self.file = file
        self.image_column, self.text_column = image_column, text_column
        self.label_column, self.key_column, self.captions = label_column, key_column, captions
        self.separator, self.quoting = separator, quoting
        # With its root given, images can be read where the table is gone: a store knows all that was in it.
        self._place = file_at(file, follow=follow_links)[0] if root is None else folder_at(root, follow=follow_links)
        self.root = self._place.root
        self.account = Account()
        if not separator:
            raise SourceError(f"{file}: source.separator is empty; give the character between cells")

    def read(self, location: str) -> bytes | Path:
        """One image, or where it is: its location is the path below the root."""
        return self._place.read(location)

    def __iter__(self) -> Iterator[Sample]:
        yield from self._classes.of(numbered_through(self._rows, self.captions))

    @property
    def class_numbers(self) -> dict[str, int]:
        """By name, of the classes that the last pass found in paths."""
        return self._classes.numbers

    def _rows(self) -> Iterator[Sample]:
        self.account = account = Account()
        place, name = file_at(self.file)

        def lines() -> Lines:
            return numbered_lines(place, name, "surrogateescape")

        quoted, opened = quoting(lines, self.separator) if self.quoting == "auto" else (self.quoting, None)
        if quoted and self.quoting == "auto":
            account.notes.append("cells are quoted (source.quoting = false takes quotes for text)")
        table = rows(lines(), self.separator, quoted, place.where(name))
        yield from self._samples(place.where(name), name, table, account, None if quoted else opened)

    def _samples(
        self, where: str, name: str, table: Iterator[Row], account: Account, opened: int | None
    ) -> Iterator[Sample]:
        """`opened`: the line of a quote that does not close, where quotes are taken for text."""
        header = next(table, Row(1, [], [])).cells
        columns = self._columns(where, header)
        account.found = printable(f"its columns are {', '.join(header)}"[:200])
        usable = False
        for number, cells, lines in table:
            try:
                if len(cells) != len(header):
                    told = "; a quote opens in it that does not close" if number == opened else ""
                    told = told or f"; its quotes reach to line {number + len(lines) - 1}" * (len(lines) > 1)
                    raise SourceError(f"{count(len(cells), 'cell')}, the header has {len(header)}{told}")
                row = {knob: cells[at] for knob, at in columns.items()}
                if not all(is_text(row[knob]) for knob in row.keys() - {"text"}):
                    raise SourceError("not UTF-8; convert the file")
                image = self._place.checked(row["image"])
                key = row.get("key", row["image"])
                if not key:
                    raise SourceError(f"no key in {self.key_column!r}")
            except SourceError as error:
                if not usable:
                    cure = "" if len(cells) == len(header) else "; mend the line, or source.separator, source.quoting"
                    raise SourceError(f"{where}:{number}: {error}{cure}") from error
                yield Sample(f"{name}:{number}", image=unusable(f"{name}:{number}: {error}"))
                if len(cells) != len(header):
                    yield from self._swallowed(name, number, lines, len(header))
                continue
            usable = True
            yield from self._said(key, image, row.get("text"), row.get("label"), account)
        account.refuse_if_unheard(where, "convert the file to UTF-8")

    def _swallowed(self, name: str, number: int, lines: list[str], cells: int) -> Iterator[Sample]:
        """The lines of an odd row that would be rows themselves: an open quote took them, so each is one that is lost.
        Of a caption of several lines the last one has cells behind it, but is none itself."""
        for line, text in enumerate(lines[1:], start=number + 1):
            if len(text.split(self.separator)) >= cells and self.separator in text.partition('"')[0]:
                where = f"{name}:{line}"
                yield Sample(
                    where, image=unusable(f"{where}: belongs to the row of line {number}, where a quote opens")
                )

    def _said(self, key: str, image: str, text: str | None, label: str | None, account: Account) -> Iterator[Sample]:
        if text is not None and not is_text(text):
            account.lose("caption(s) not in UTF-8", key, "text", f"the caption is not UTF-8: {text!r:.60}")
            text = None
        account.heard |= bool(text and text.strip())
        if self.captions == "whole":
            # A cell of nothing, or of blanks, is an absent text, not a text without words.
            yield Sample(key, image=image, text=text if text and text.strip() else None, label=label)
        else:
            yield from with_captions(key, image, text, label, self.captions)

    def _columns(self, where: str, header: list[str]) -> dict[str, int]:
        """Where in a row its image, text, label and key are."""
        if not header:
            raise SourceError(f"{where}: empty; its first line must name its columns")
        if any("\r" in cell for cell in header):
            raise SourceError(f"{where}: its lines end in a CR without a line feed; convert them: tr '\\r' '\\n'")
        if not all(map(is_text, header)):
            raise SourceError(f"{where}:1: not UTF-8; convert the file")
        text = self.text_column or ("title" if "title" in header else None)
        named = {"image": self.image_column, "text": text, "label": self.label_column, "key": self.key_column}
        for knob, column in named.items():
            if column is not None and column not in header:
                other = next((mark for mark in ",;|\t" if len(header) == 1 and mark in header[0]), None)
                cure = f"source.separator = {json.dumps(other)}" if other else f"source.{knob}_column to one of these"
                raise SourceError(
                    f"{where}: no column {column!r} in its first line {header!s:.200}; set {cure}, or give the "
                    "file a first line that names its columns"
                )
            if column is not None and header.count(column) > 1:
                raise SourceError(f"{where}: {header.count(column)} of its columns are called {column!r}; rename one")
        return {knob: header.index(column) for knob, column in named.items() if column is not None}
