"""Sentences from a text file, one a line; the key is a hash of the sentence, so order does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.types import Sample


class TextLines:
    """`file`: UTF-8 text. Empty lines are skipped; a sentence that comes twice has one key and is kept once."""

    root = None

    def __init__(self, *, file: str):
        self.file = Path(expand(file)).absolute()
        if not self.file.is_file():
            raise SourceError(f"{self.file}: no such file; mend source.file in the recipe")

    def __iter__(self) -> Iterator[Sample]:
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise SourceError(f"{self.file}:{number}: not UTF-8 ({error.reason}); convert the file") from error
                if text:
                    yield Sample(hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), text=text)
