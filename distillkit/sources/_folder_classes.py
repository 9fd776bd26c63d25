"""In tables of paths the class of an image, where it is the first folder of its path: `classes = true`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from distillkit.errors import SourceError
from distillkit.sources._names import same_form
from distillkit.types import Sample


class FolderClasses:
    """Tells the classes of a table's samples, if that is `asked`; they are numbered as they come.

    SourceError where a column tells classes, too: which of them are meant, nobody knows.
    """

    def __init__(self, asked: bool, label: str | None, knob: str):
        self.asked = asked
        if asked and label is not None:
            raise SourceError(
                f"source.classes takes the first folder of each path for its class, and source.{knob} = {label!r} a "
                "column; leave out one of them"
            )
        self._met: dict[str, int] = {}
        self._in_order: dict[str, int] = {}

    @property
    def numbers(self) -> dict[str, int]:
        """By name, the numbers of the classes of the last pass; in the order of the names."""
        if len(self._in_order) < len(self._met):
            self._in_order = dict(sorted(self._met.items()))
        return self._in_order

    def of(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples of a pass. An image in no folder has no class, nor has one that cannot be read."""
        if not self.asked:
            yield from samples
            return
        self._met, self._in_order = {}, {}
        for sample in samples:
            image = sample.image if isinstance(sample.image, str) and not sample.image.startswith("?") else ""
            first, inside, _ = image.removeprefix("./").partition("/")
            label = self._met.setdefault(same_form(first), len(self._met)) if inside else None
            yield sample if label is None else replace(sample, label=label)
