"""Images and texts in Parquet files: rows that hold the images' bytes (img2dataset, Hugging Face), or paths of files.

A Hugging Face image is a struct {bytes, path}; img2dataset names the column after the encoding, such as "jpg".
An image in a row lies at `file.parquet#row`. Parquet can only be read by row groups: a corpus read in order costs each
group once, training in random order wants `data.pixel_cache` (or tars).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._arrow import is_text_type, refuse_unfit, rows_of
from distillkit.sources._captions import Captions, numbered_through, with_captions
from distillkit.sources._folder_classes import FolderClasses
from distillkit.sources._lines import is_text
from distillkit.sources._patterns import files, is_pattern
from distillkit.sources._places import Place, below, file_at, folder_at, placed, unusable
from distillkit.sources._row_groups import RowGroups
from distillkit.system.opening import blame_the_file
from distillkit.system.wording import count, one_line
from distillkit.types import Sample

_PLACE = re.compile(r"(.+)#(\d+)", re.DOTALL)
_EVERY = "*.parquet"
_DAMAGE = (pa.ArrowException, OSError, ValueError)


class Parquet:
    """`file`: one table, as of the kinds csv and jsonl; if not given, the tables below the root that match the pattern
    are read. `root`: the folder that image paths start from, which is the table's own if not given; without a file, the
    folder of the tables. `files`: which tables below the root are read: a pattern with `*`, or a range such as
    `{0000..0331}`.

    `image_column`: the column of images: bytes, structs {bytes, path}, or paths below the root. `text_column`: the
    column of captions, which holds strings or lists of them. `key_column`: the column of keys, which must be unique in
    the corpus. If not given, a row's key is `TABLE.parquet#ROW`, or the image path where one file of paths is read.
    """

    def __init__(
        self,
        *,
        file: str | None = None,
        root: str | None = None,
        files: str = _EVERY,
        image_column: str | None = "image",
        text_column: str | None = None,
        label_column: str | None = None,
        key_column: str | None = None,
        captions: Captions = "whole",
        follow_links: bool = False,
        classes: bool = False,
    ):
        self._classes = FolderClasses(classes, label_column, "label_column")
        if file is None and root is None:
            raise SourceError("parquet: set source.file (a table), or source.root (the folder of all of them)")
        if file is not None and files != _EVERY:
            raise SourceError(
                f"{file}: is one table, but source.files = {files!r}; leave out source.file or source.files"
            )
        self.file, self.files, self.captions = file, files, captions
        # With its root given, images can be read where the table is gone: a store knows all that was in it.
        self._place = file_at(str(file), follow=follow_links)[0] if root is None else folder_at(root, follow_links)
        self.root = self._place.root
        self._tables = self._place if file is None or root is None else _beside(file, self._place)
        self.image_column, self.text_column, self.label_column = image_column, text_column, label_column
        self.key_column = key_column
        self._images = RowGroups(self._tables)
        self.account = Account()

    @property
    def images_elsewhere(self) -> str:
        """What to do where one table lies in another folder than the images that it names; empty where that is done."""
        if self.file is not None:
            return ""
        one = self.files if self.files.endswith(".parquet") and not is_pattern(self.files) else "FOLDER/TABLE.parquet"
        return (
            f'; of one table whose images lie in another folder say source.file = "{one}", its path, in place of '
            "source.files, and their folder in source.root"
        )

    def read(self, location: str) -> bytes | Path:
        """The bytes of one image, or the file where it is."""
        place = _PLACE.fullmatch(location)
        if place is None:
            return self._place.read(location)
        table = below(str(self._tables.root), place[1])
        try:
            value = self._images.value(table, str(self.image_column), int(place[2]))
        except _DAMAGE as error:
            blame_the_file(error, self._tables.where(table))
            raise SourceError(f"{location}: cannot be read ({one_line(error)})") from error
        if isinstance(value, dict):
            value = value["bytes"] if value["bytes"] is not None else value.get("path")
        if isinstance(value, str):
            return self._place.read(self._place.checked(value))
        if value is None:
            raise SourceError(f"{location}: the row has no image")
        return bytes(value)

    def __iter__(self) -> Iterator[Sample]:
        # Only keys that the table itself gives can come twice: where rows are called by their places, one pass is all.
        named = self.file is not None or self.key_column is not None
        yield from self._classes.of(numbered_through(self._rows, self.captions) if named else self._rows())

    @property
    def class_numbers(self) -> dict[str, int]:
        """By name, of the classes that the last pass found in paths."""
        return self._classes.numbers

    def _rows(self) -> Iterator[Sample]:
        self.account = account = Account()
        if self.file is None:
            tables, names = self._place, files(self._place, self.files, account, "source.files", self.images_elsewhere)
        else:
            tables, name = file_at(self.file)
            names = [name]
        for name in names:
            where = tables.where(name)
            try:
                yield from self._of_file(where, tables, name, account)
            except _DAMAGE as error:
                blame_the_file(error, where)
                raise SourceError(
                    f"{where}: damaged, or no Parquet file ({one_line(error)}); fetch it again"
                ) from error
        account.refuse_if_unheard(self.file or str(self.root), "convert it to UTF-8")

    def _of_file(self, file: str, tables: Place, name: str, account: Account) -> Iterator[Sample]:
        with pq.ParquetFile(tables.table(name)) as table:
            images_are_paths = self._check(file, table.schema_arrow)
            # One table of paths has the keys that csv and jsonl give; those of folders are called as they always were.
            key_column = self.key_column or (self.image_column if self.file and images_are_paths else None)
            columns = [self.text_column, self.label_column, self.key_column]
            # What is only bytes is not read here: the whole corpus would pass through memory to be counted.
            columns += [self.image_column] if images_are_paths else []
            wanted = [column for column in columns if column is not None]
            rows = table.metadata.num_rows
            batches = table.iter_batches(4096, columns=wanted) if wanted else ()
            read = (values for batch in batches for values in rows_of(batch)) if wanted else repeat({}, rows)
            if not wanted and not 0 <= rows <= tables.size(name):
                raise SourceError(f"{file}: damaged, claims to hold {count(rows, 'image')}; fetch it again")
            # strict: a damaged footer may promise other rows than there are.
            for row, values in zip(range(rows), read, strict=True):
                key = self._key(file, name, row, values, account, key_column)
                image = self._image(name, row, values, images_are_paths)
                said = self._said(key, values, account)
                yield from with_captions(key, image, said, values.get(str(self.label_column)), self.captions)

    def _key(self, file: str, name: str, row: int, values: dict[str, Any], account: Account, column: str | None) -> str:
        place = f"{name}#{row}"
        key = place if column is None else values[column]
        if key is not None and key != "" and is_text(str(key)):
            return str(key)
        if row == 0:
            raise SourceError(f"{file}: row {row} has no key in {column!r}; set source.key_column")
        account.lose("key(s)", place, "key", f"no key in {column!r}; the row is called by its place")
        return place

    def _image(self, name: str, row: int, values: dict[str, Any], images_are_paths: bool) -> str | None:
        place = f"{name}#{row}"
        if images_are_paths and values[str(self.image_column)] is not None:
            return self._path(place, values[str(self.image_column)])
        return None if self.image_column is None else place

    def _said(self, key: str, values: dict[str, Any], account: Account) -> str | list[str] | None:
        said = values.get(str(self.text_column))
        texts = [text for text in said if text is not None] if isinstance(said, list) else said
        if texts is None or is_text("".join(texts)):
            account.heard |= bool(texts)
            return texts
        account.lose("caption(s) not in UTF-8", key, "text", "the caption is not UTF-8")
        return None

    def _path(self, place: str, name: str) -> str:
        try:
            path = self._place.checked(name)
        except SourceError as error:
            return unusable(f"{place}: {error}")
        if not is_text(path):
            return unusable(f"{place}: a path that is not UTF-8")
        if _PLACE.fullmatch(path):
            return unusable(f"{place}: a path that ends like a row of a file ({path}); rename it")
        return path

    def _check(self, file: str, schema: pa.Schema) -> bool:
        """Refuse columns that are missing or of another type; true when images are given by their paths."""
        columns = {
            "image_column": self.image_column,
            "text_column": self.text_column,
            "label_column": self.label_column,
            "key_column": self.key_column,
        }
        refuse_unfit(file, schema, columns)
        paths = self.image_column is not None and is_text_type(schema.field(self.image_column).type)
        if self._classes.asked and not paths:
            raise SourceError(
                f"{file}: source.classes takes classes from paths, and column {self.image_column!r} holds none; "
                "leave it out, and name a column of classes in source.label_column"
            )
        return paths


def _beside(file: str, images: Place) -> Place:
    """Where a table is that has the images in its rows; below the root of `images` where it is gone, for then that is
    where a recipe says that they are by now."""
    place, name = placed(file)
    return place if place.has(name) else images
