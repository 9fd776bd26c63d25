"""Sentences from a text file, one a line; the key is a hash of the sentence, so order does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from distillkit.errors import SourceError
from distillkit.sources._lines import numbered_lines
from distillkit.sources._places import file_at
from distillkit.types import Sample


class TextLines:
    """`file`: UTF-8 text, which may be packed (.gz, .zst).

    Empty lines are skipped; a sentence that comes twice has one key and is kept once.
    """

    root = None

    def __init__(self, *, file: str):
        self._file = file_at(file)

    def __iter__(self) -> Iterator[Sample]:
        place, name = self._file
        empty = True
        for _, line in numbered_lines(place, name):
            if text := line.strip():
                empty = False
                yield Sample(hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), text=text)
        if empty:
            raise SourceError(f"{place.where(name)}: empty, there is no line with a text in it")
