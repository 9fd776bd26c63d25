"""Several sources as one: what a store that was merged from several reads its images from.

Where an image is, is told as `part:location`: of part 2, `2:images/cat.jpg`. Classes that parts number for themselves
are told by their names: one name is one class, whatever its number in each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from distillkit.errors import SourceError
from distillkit.recipe import Component
from distillkit.system.opening import blame_the_file
from distillkit.system.wording import count
from distillkit.types import Sample


class Merged:
    """`parts`: a list of sources, each a table such as `{ kind = "folder", root = "~/photos" }`. A key may be in one
    only.
    """

    root = None

    def __init__(self, *, parts: list[dict[str, Any]]):
        self.parts = [Component(**part) for part in parts]
        for number, part in enumerate(self.parts):
            part.check("sources", f"parts[{number}]")
        self._part = lru_cache(maxsize=None)(self._build)
        self.class_numbers: dict[str, int] = {}  # of the last pass: in the order in which their names came

    def _build(self, number: int) -> Any:
        return self.parts[number].build("sources")

    def read(self, location: str) -> bytes:
        """The bytes of one image."""
        number, separator, place = location.partition(":")
        if not separator or not number.isdecimal() or int(number) >= len(self.parts):
            raise SourceError(f"{location!r} names none of the {count(len(self.parts), 'part')} of this corpus")
        found: bytes | Path = self._part(int(number)).read(place)
        try:
            return found if isinstance(found, bytes) else found.read_bytes()
        except OSError as error:
            blame_the_file(error, found)
            raise SourceError(f"{place}: {error.strerror}") from error

    def __iter__(self) -> Iterator[Sample]:
        self.class_numbers = dict[str, int]()
        for number in range(len(self.parts)):
            source = self._part(number)
            names: dict[object, str] = {}
            for sample in source:
                if sample.label is not None and (own := getattr(source, "class_numbers", {})):
                    if sample.label not in names:
                        names = {label: name for name, label in own.items()}
                    sample = replace(sample, label=names.get(sample.label, sample.label))
                    self.class_numbers.setdefault(str(sample.label), len(self.class_numbers))
                image = sample.image
                if isinstance(image, Path):
                    image = image.relative_to(source.root).as_posix()
                yield sample if image is None else replace(sample, image=f"{number}:{image}")
