"""Images and texts of a Hugging Face dataset, saved on disk or by its name (https://huggingface.co/docs/datasets).

`root` is what `Dataset.save_to_disk` made; `name` is what `datasets.load_dataset` fetches into its own cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.errors import MissingExtra, SourceError
from distillkit.sources._account import Account
from distillkit.sources._captions import Captions, with_captions
from distillkit.sources._places import folder_at
from distillkit.types import Sample


class Datasets:
    """Either `root` or `name` (of a `subset`, as datasets calls its configurations); `split` of what they hold.

    The key is the row's number, or what is in `key_column`; a text column holds strings, or lists of them.
    `follow_links`: links below the root may lead to any file; else only to folders.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        name: str | None = None,
        subset: str | None = None,
        split: str = "train",
        image_column: str | None = "image",
        text_column: str | None = None,
        label_column: str | None = None,
        key_column: str | None = None,
        captions: Captions = "whole",
        follow_links: bool = False,
    ):
        if (root is None) == (name is None):
            raise SourceError("datasets: set either source.root (a saved dataset) or source.name (one to fetch)")
        self._place = None if root is None else folder_at(root, follow=follow_links)
        self.root = None if self._place is None else self._place.root
        self.name, self.subset, self.split, self.captions = name, subset, split, captions
        self.image_column, self.text_column = image_column, text_column
        self.label_column, self.key_column = label_column, key_column
        self.account = Account()

    def read(self, location: str) -> bytes | Path:
        """The bytes of one image; its location is the row's number."""
        if not (location.isascii() and location.isdecimal() and int(location) < len(self._rows)):
            raise SourceError(f"{self._where}: has no row {location!r:.80}")
        image = self._images[int(location)][self.image_column]
        if image is None or (image["bytes"] is None and image["path"] is None):
            raise SourceError(f"{self._where}: row {location} has no image")
        if image["bytes"] is not None:
            return bytes(image["bytes"])
        if self._place is None:
            raise SourceError(
                f"{self._where}: row {location} is a path, not an image; save the dataset with its images"
            )
        return self._place.read(self._place.checked(image["path"]))

    def __iter__(self) -> Iterator[Sample]:
        wanted = [column for column in (self.text_column, self.label_column, self.key_column) if column is not None]
        for column in wanted:
            self._refuse_unknown(column)
        told = self._rows.select_columns(wanted) if wanted else [{}] * len(self._rows)
        self.account = Account()
        for row, values in enumerate(told):
            key = row if self.key_column is None else values[self.key_column]
            said = None if self.text_column is None else values[self.text_column]
            if key is None or key == "" or not isinstance(said, str | list | None):
                raise SourceError(f"{self._where}: row {row}: key {key!r:.40}, text {said!r:.40}")
            label = None if self.label_column is None else values[self.label_column]
            image = None if self.image_column is None else str(row)
            yield from with_captions(str(key), image, said, label, self.captions)

    @property
    def _where(self) -> str:
        return f"{self.root or self.name} [{self.split}]"

    @cached_property
    def _rows(self) -> Any:
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise MissingExtra("datasets", "datasets") from error
        try:
            if self.root is None:
                return datasets.load_dataset(self.name, self.subset, split=self.split)
            saved = datasets.load_from_disk(str(self.root))
        except (OSError, ValueError) as error:
            raise SourceError(f"{self._where}: cannot be opened ({str(error).splitlines()[0]})") from error
        if isinstance(saved, datasets.Dataset):
            return saved
        if self.split not in saved:
            raise SourceError(f"{self.root}: no split {self.split!r}; set source.split to one of: {', '.join(saved)}")
        return saved[self.split]

    @cached_property
    def _images(self) -> Any:
        """The rows with images as their bytes, exactly as they were put in."""
        import datasets

        self._refuse_unknown(self.image_column)
        kind = self._rows.features[self.image_column]
        plain = isinstance(kind, datasets.Value) and kind.dtype.removeprefix("large_") in ("string", "binary")
        if not (plain or isinstance(kind, datasets.Image) or (isinstance(kind, dict) and "bytes" in kind)):
            raise SourceError(
                f"{self._where}: column {self.image_column!r} holds {kind!s:.80}; it cannot be source.image_column"
            )
        only = self._rows.select_columns([self.image_column])
        return only.cast_column(self.image_column, datasets.Image(decode=False))

    def _refuse_unknown(self, column: str | None) -> None:
        if column not in self._rows.column_names:
            raise SourceError(f"{self._where}: no column {column!r} among {', '.join(self._rows.column_names)}")
