"""Every class name in every prompt template: the texts behind zero-shot classifiers."""

from __future__ import annotations

from collections.abc import Iterator

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._lines import numbered_lines
from distillkit.sources._names import doubled
from distillkit.sources._places import file_at
from distillkit.sources._templates import Templates, templates_called
from distillkit.types import Sample


class ClassPrompts:
    """`file`: class names, one a line; the label is the line's number from 0, the key `<label>/<template>`."""

    root = None

    def __init__(self, *, file: str, templates: Templates = "openai_imagenet"):
        self._place, self._name = file_at(file, "file of class names")
        self.templates = templates
        self.account = Account()

    def __iter__(self) -> Iterator[Sample]:
        self.account = Account()
        templates = templates_called(self.templates)
        names = [line.strip() for _, line in numbered_lines(self._place, self._name)]
        while names and not names[-1]:
            names.pop()
        note = doubled(names)
        self.account.notes += [note] if note else []
        for label, name in enumerate(names or [""]):
            if not name:
                where = f"{self._place.where(self._name)}:{label + 1}"
                raise SourceError(f"{where}: an empty class name; labels are line numbers, so fill it")
            for number, template in enumerate(templates):
                yield Sample(f"{label}/{number}", text=template(name), label=label)
