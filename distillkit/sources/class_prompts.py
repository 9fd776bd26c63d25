"""Every class name in every prompt template: the texts behind zero-shot classifiers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distillkit.errors import SourceError
from distillkit.paths import expand
from distillkit.sources._templates import Templates, templates_called
from distillkit.types import Sample


class ClassPrompts:
    """`file`: class names, one a line; the label is the line's number from 0, the key `<label>/<template>`."""

    root = None

    def __init__(self, *, file: str, templates: Templates = "openai_imagenet"):
        self.file = Path(expand(file)).absolute()
        self.templates = templates
        if not self.file.is_file():
            raise SourceError(f"{self.file}: no such file of class names; mend source.file in the recipe")

    def __iter__(self) -> Iterator[Sample]:
        templates = templates_called(self.templates)
        try:
            # Only a line feed ends a line, as everywhere else: str.splitlines knows ten more characters.
            lines = self.file.read_text("utf-8-sig").rstrip().split("\n")
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.file}: not UTF-8 ({error.reason}); convert the file") from error
        names = [line.strip() for line in lines]
        for label, name in enumerate(names):
            if not name:
                raise SourceError(f"{self.file}:{label + 1}: an empty class name; labels are line numbers, so fill it")
            for number, template in enumerate(templates):
                yield Sample(f"{label}/{number}", text=template(name), label=label)
