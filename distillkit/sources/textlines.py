"""Sentences from a text file, one a line; the key is a hash of the sentence, so order does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.sources._lines import numbered_lines
from distillkit.types import Sample


class TextLines:
    """`file`: UTF-8 text, which may be packed (.gz, .zst).

    Empty lines are skipped; a sentence that comes twice has one key and is kept once.
    """

    root = None

    def __init__(self, *, file: str):
        self.file = Path(expand(file)).absolute()
        if not self.file.is_file():
            raise SourceError(f"{self.file}: no such file; mend source.file in the recipe")

    def __iter__(self) -> Iterator[Sample]:
        for _, line in numbered_lines(self.file):
            if text := line.strip():
                yield Sample(hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), text=text)
