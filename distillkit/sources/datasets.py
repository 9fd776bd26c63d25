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
from distillkit.sources._arrow import refuse_unfit
from distillkit.sources._captions import Captions, numbered_through, with_captions
from distillkit.sources._places import folder_at
from distillkit.system.opening import blame_the_file
from distillkit.system.wording import one_line
from distillkit.types import Sample


class Datasets:
    """`root`: the folder of a dataset saved by `Dataset.save_to_disk`. Either a folder or a name is given.

    `name`: a dataset's name, which `datasets.load_dataset` fetches into its own cache, in place of a folder. `subset`:
    of a dataset given by name, the configuration, if it has several. `split`: the split that is read. `key_column`: the
    column of keys, which must be unique in the corpus; the row's number, if not given. `text_column`: the column of
    captions, which holds strings or lists of them.
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
        # Only keys that the dataset itself gives can come twice: rows that are called by their numbers need one pass.
        yield from self._samples() if self.key_column is None else numbered_through(self._samples, self.captions)

    def _samples(self) -> Iterator[Sample]:
        self._check()
        self.account = account = Account()
        wanted = [column for column in (self.text_column, self.label_column, self.key_column) if column is not None]
        told = self._rows.select_columns(wanted) if wanted else [{}] * len(self._rows)
        for row, values in enumerate(told):
            key = self._key(row, values, account)
            said = None if self.text_column is None else values[self.text_column]
            label = None if self.label_column is None else values[self.label_column]
            image = None if self.image_column is None else str(row)
            yield from with_captions(key, image, said, label, self.captions)

    def _key(self, row: int, values: dict[str, Any], account: Account) -> str:
        key = row if self.key_column is None else values[self.key_column]
        if key is not None and key != "":
            return str(key)
        if row == 0:
            raise SourceError(f"{self._where}: row {row} has no key in {self.key_column!r}; set source.key_column")
        account.lose("key(s)", f"#{row}", "key", f"no key in {self.key_column!r}; the row is called by its number")
        return f"#{row}"

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
            for one in [saved] if isinstance(saved, datasets.Dataset) else saved.values():
                one.data.validate(full=True)  # as system/arrow.py does: its files may be anybody's
        except (OSError, ValueError) as error:
            blame_the_file(error, self.root or self._where)
            knob = "source.name, subset or split" if self.root is None else "source.root"
            raise SourceError(f"{self._where}: cannot be opened ({one_line(error)}); mend {knob}") from error
        if isinstance(saved, datasets.Dataset):
            return saved
        if self.split not in saved:
            raise SourceError(f"{self.root}: no split {self.split!r}; set source.split to one of: {', '.join(saved)}")
        return saved[self.split]

    @cached_property
    def _images(self) -> Any:
        """The rows with images as their bytes, exactly as they were put in."""
        import datasets

        self._check()
        only = self._rows.select_columns([self.image_column])
        return only.cast_column(self.image_column, datasets.Image(decode=False))

    def _check(self) -> None:
        columns = {
            "image_column": self.image_column,
            "text_column": self.text_column,
            "label_column": self.label_column,
            "key_column": self.key_column,
        }
        refuse_unfit(self._where, self._rows.features.arrow_schema, columns)
