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
from distillkit.sources._captions import Captions, with_captions
from distillkit.sources._patterns import files
from distillkit.sources._places import below, folder_at, unusable
from distillkit.sources._row_groups import RowGroups
from distillkit.types import Sample

_PLACE = re.compile(r"(.+)#(\d+)", re.DOTALL)
_DAMAGE = (pa.ArrowException, OSError, ValueError)


class Parquet:
    """`root`: the folder of the files. `files`: which of them, by `*` or by `{0000..0331}`.

    `image_column` holds bytes, structs {bytes, path}, or paths below the root; `text_column` strings or lists of them;
    `key_column` keys that are unique in the corpus (without it the key is `file.parquet#row`). None: there is none.
    """

    def __init__(
        self,
        *,
        root: str,
        files: str = "*.parquet",
        image_column: str | None = "image",
        text_column: str | None = None,
        label_column: str | None = None,
        key_column: str | None = None,
        captions: Captions = "whole",
    ):
        self._place = folder_at(root)
        self.root = self._place.root
        self.files, self.captions = files, captions
        self.image_column, self.text_column, self.label_column = image_column, text_column, label_column
        self.key_column = key_column
        self._images = RowGroups(self._place)
        self.account = Account()

    def read(self, location: str) -> bytes | Path:
        """The bytes of one image, or the file where it is."""
        place = _PLACE.fullmatch(location)
        if place is None:
            return self._place.read(location)
        file = below(str(self.root), place[1])
        try:
            value = self._images.value(file, str(self.image_column), int(place[2]))
        except _DAMAGE as error:
            raise SourceError(f"{location}: cannot be read ({_line(error)})") from error
        if isinstance(value, dict):
            value = value["bytes"] if value["bytes"] is not None else value.get("path")
        if isinstance(value, str):
            return self._place.read(self._place.checked(value))
        if value is None:
            raise SourceError(f"{location}: the row has no image")
        return bytes(value)

    def __iter__(self) -> Iterator[Sample]:
        self.account = account = Account()
        for name in files(self._place, self.files, account, "source.files"):
            try:
                yield from self._of_file(self._place.where(name), name)
            except _DAMAGE as error:
                where = self._place.where(name)
                raise SourceError(f"{where}: damaged, or no Parquet file ({_line(error)}); fetch it again") from error

    def _of_file(self, file: str, name: str) -> Iterator[Sample]:
        with pq.ParquetFile(self._place.table(name)) as table:
            images_are_paths = self._check(file, table.schema_arrow)
            columns = [self.text_column, self.label_column, self.key_column]
            # What is only bytes is not read here: the whole corpus would pass through memory to be counted.
            columns += [self.image_column] if images_are_paths else []
            wanted = [column for column in columns if column is not None]
            rows = table.metadata.num_rows
            batches = table.iter_batches(4096, columns=wanted) if wanted else ()
            read = (values for batch in batches for values in batch.to_pylist()) if wanted else repeat({}, rows)
            if not wanted and not 0 <= rows <= self._place.size(name):
                raise SourceError(f"{file}: damaged, claims to hold {rows} images; fetch it again")
            # strict: a damaged footer may promise other rows than there are.
            for row, values in zip(range(rows), read, strict=True):
                yield from self._samples(file, name, row, values, images_are_paths)

    def _samples(
        self, file: str, name: str, row: int, values: dict[str, Any], images_are_paths: bool
    ) -> Iterator[Sample]:
        place = f"{name}#{row}"
        key = place if self.key_column is None else values[self.key_column]
        if key is None or key == "":
            raise SourceError(f"{file}: row {row} has no key in {self.key_column!r}; set source.key_column")
        image = None if self.image_column is None else place
        if images_are_paths and values[str(self.image_column)] is not None:
            image = self._path(place, values[str(self.image_column)])
        said = values.get(str(self.text_column))
        said = [text for text in said if text is not None] if isinstance(said, list) else said
        yield from with_captions(str(key), image, said, values.get(str(self.label_column)), self.captions)

    def _path(self, place: str, name: str) -> str:
        try:
            path = self._place.checked(name)
        except SourceError as error:
            return unusable(f"{place}: {error}")
        if _PLACE.fullmatch(path):
            return unusable(f"{place}: a path that ends like a row of a file ({path}); rename it")
        return path

    def _check(self, file: str, schema: pa.Schema) -> bool:
        """Refuse columns that are missing or of another type; true when images are given by their paths."""
        for knob, column, fits in (
            ("image_column", self.image_column, _holds_images),
            (
                "text_column",
                self.text_column,
                lambda kind: _is_text(kind) or (_is_list(kind) and _is_text(kind.value_type)),
            ),
            ("label_column", self.label_column, _may_be_a_label),
            ("key_column", self.key_column, lambda kind: _is_text(kind) or pa.types.is_integer(kind)),
        ):
            if column is None:
                continue
            if column not in schema.names:
                raise SourceError(
                    f"{file}: no column {column!r}; set source.{knob} to one of: {', '.join(schema.names)}"
                )
            kind = schema.field(column).type
            if not fits(kind):
                raise SourceError(f"{file}: column {column!r} is of type {kind!s:.80}; it cannot be source.{knob}")
        return self.image_column is not None and _is_text(schema.field(self.image_column).type)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _may_be_a_label(kind: pa.DataType) -> bool:
    """Which values of it are class numbers, the plan finds out."""
    return _is_text(kind) or any(
        fits(kind) for fits in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        fields = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
        return "bytes" in fields and _is_bytes(fields["bytes"]) and _is_text(fields.get("path", pa.string()))
    return _is_bytes(kind) or _is_text(kind)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
