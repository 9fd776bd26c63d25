"""Sentences from a text file, one a line; the key is a hash of the sentence, so order does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._lines import is_text, numbered_lines
from distillkit.sources._places import file_at, unusable
from distillkit.types import Sample


class TextLines:
    """`file`: UTF-8 text with a sentence on each line; it may be packed (.gz, .zst)."""

    root = None

    def __init__(self, *, file: str):
        self._file = file_at(file)
        self.account = Account()

    def __iter__(self) -> Iterator[Sample]:
        place, name = self._file
        self.account = account = Account()
        empty = True
        for number, line in numbered_lines(place, name, "surrogateescape"):
            if text := line.strip():
                if not is_text(text):
                    account.lose("line(s) not in UTF-8", f"{name}:{number}", "text", "not UTF-8")
                    yield Sample(f"{name}:{number}", image=unusable(f"{name}:{number}: not UTF-8"))
                    continue
                account.heard = True
                empty = False
                yield Sample(hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), text=text)
        account.refuse_if_unheard(place.where(name), "convert the file to UTF-8")
        if empty:
            raise SourceError(f"{place.where(name)}: empty, there is no line with a text in it")
