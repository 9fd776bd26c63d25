"""Texts, and images with texts, from JSON lines (.gz, .zst too) such as `{"image": "a.jpg", "text": "a cat"}`.

Of texts alone the key is a hash of the text, as in text lines; of images it is the path as written, as in tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._captions import Captions, numbered_through, with_captions
from distillkit.sources._folder_classes import FolderClasses
from distillkit.sources._lines import numbered_lines
from distillkit.sources._places import file_at, folder_at, printable, unusable
from distillkit.system.atomic import parsed_json
from distillkit.types import Sample

_NAMES = {str: "a text", str | int: "a text or a whole number", str | list: "a text or a list"}


class Jsonl:
    """`file`: one JSON object a line. `root`: the folder that image paths start from; the folder of the file, if not
    given.

    A line that is damaged, or whose path leaves the root, has the key `file:line` and no image: the failure ledger says
    why. If the first line is like that, the file is refused, as a knob is wrong then. Of a line whose caption alone
    cannot be read, the image is kept, and the loss is counted. Each knob that ends in _field names what is taken from
    an object; "a.b" is field b of the object in field a.
    """

    def __init__(
        self,
        *,
        file: str,
        root: str | None = None,
        text_field: str | None = "text",
        image_field: str | None = None,
        label_field: str | None = None,
        key_field: str | None = None,
        captions: Captions = "whole",
        follow_links: bool = False,
        classes: bool = False,
    ):
        self._classes = FolderClasses(classes, label_field, "label_field")
        self.file = file
        # With its root given, images can be read where the lines are gone: a store knows all that was in them.
        self._place = file_at(file, follow=follow_links)[0] if root is None else folder_at(root, follow=follow_links)
        self.root = self._place.root
        self.text_field, self.image_field, self.label_field = text_field, image_field, label_field
        self.key_field, self.captions = key_field, captions
        self.account = Account()
        if text_field is None and image_field is None:
            raise SourceError(f"{file}: neither source.text_field nor source.image_field is set; set one")

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
        usable = False
        for number, line in numbered_lines(place, name, "surrogateescape"):
            if not line.strip():
                continue
            try:
                item = parsed_json(line)
                if not isinstance(item, dict):
                    raise SourceError(f"a JSON {type(item).__name__}, not an object; write one object a line")
                account.found = account.found or printable(f"its objects have the fields {', '.join(item)}"[:200])
                samples = list(self._samples(item, account))
            except (ValueError, RecursionError, SourceError) as error:
                told = str(error) if isinstance(error, SourceError) else f"no JSON object in UTF-8 ({_short(error)})"
                if not usable:
                    cure = "" if isinstance(error, SourceError) else "; write one object a line"
                    raise SourceError(f"{place.where(name)}:{number}: {told}{cure}") from error
                samples = [Sample(f"{name}:{number}", image=unusable(f"{name}:{number}: {told}"))]
            usable = True
            account.heard |= any(sample.text is not None for sample in samples)
            yield from samples
        account.refuse_if_unheard(place.where(name), "mend source.text_field")

    def _samples(self, item: dict[str, Any], account: Account) -> Iterator[Sample]:
        """The samples of one object. A text that is none is left out where there is an image."""
        name = _field(item, self.image_field, str)
        image = None if name is None else self._place.checked(name)
        key = _field(item, self.key_field, str | int)
        if key is None and self.key_field is not None:
            raise SourceError(f"no key in {self.key_field!r}; mend it, or source.key_field")
        key = name if key is None else key
        try:
            text = _text_at(item, self.text_field)
        except (SourceError, UnicodeEncodeError) as error:
            if image is None:
                raise
            account.lose("caption(s) without a text", str(key), "text", str(error))
            text = None
        if key is None:
            if not text:
                return
            said = text if isinstance(text, str) else "\n".join(text)
            key = hashlib.blake2b(said.strip().encode(), digest_size=12).hexdigest()
        yield from with_captions(str(key), image, text, _value(item, self.label_field), self.captions)


def _text_at(item: dict[str, Any], field: str | None) -> str | list[str] | None:
    found: str | list[str] | None = _field(item, field, str | list)
    if isinstance(found, list):
        if not all(isinstance(text, str) for text in found):
            raise SourceError(f"{field!r} holds something else than texts")
        "".join(found).encode()
    return found


def _field(item: dict[str, Any], field: str | None, kind: Any) -> Any:
    """The value of a field, None where there is none; SourceError for a value of another type."""
    value = _value(item, field)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SourceError(f"{field!r} is {value!r:.60}, not {_NAMES[kind]}; mend it, or name another field")
    if isinstance(value, str):
        value.encode()  # JSON can spell half a character, which no text can hold
    return value


def _short(error: Exception) -> str:
    """What Python's parser says, without what it tells programmers to call."""
    return str(error).partition(";")[0]


def _value(item: dict[str, Any], field: str | None) -> Any:
    value: Any = item if field else None
    for part in field.split(".") if field else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value
