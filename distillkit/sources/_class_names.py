"""A file of class names: the number of a class is that of its line, from 0, as the source `class_prompts` counts."""

from __future__ import annotations

from dataclasses import dataclass

from distillkit.errors import SourceError
from distillkit.sources._lines import numbered_lines
from distillkit.sources._names import same_form
from distillkit.sources._places import Place, file_at
from distillkit.types import class_number


def listed_names(place: Place, name: str) -> tuple[list[str], str]:
    """The lines of a file without blanks around them, empty ones at the end left out, and where they are from."""
    names = [line.strip() for _, line in numbered_lines(place, name)]
    while names and not names[-1]:
        names.pop()
    return names, place.where(name)


@dataclass(frozen=True)
class ClassNames:
    """`numbers`: of each name in the file at `where`, in one Unicode form; of a name on several lines the first."""

    where: str
    numbers: dict[str, int]

    @classmethod
    def of(cls, file: str) -> ClassNames:
        names, where = listed_names(*file_at(file, "file of class names", knob="corpora.class_names"))
        numbers: dict[str, int] = {}
        for number, name in enumerate(names):
            numbers.setdefault(same_form(name), number)
        if not any(numbers):
            raise SourceError(f"{where}: has no class names; write one a line")
        return cls(where, numbers)

    def number(self, label: object) -> int | None:
        """The class of a label, None of an absent one; ValueError for what is no name in the file."""
        if not isinstance(label, str):
            if class_number(label) is None:
                return None
            raise ValueError(f"{label!r:.40} is no name; leave class_names out where labels are numbers")
        name = same_form(label.strip())
        if name and name not in self.numbers:
            raise ValueError(f"{name!r:.40} is not listed in {self.where}")
        return self.numbers[name] if name else None
