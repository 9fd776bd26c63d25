"""Labels of a corpus as class numbers: what is none costs its row the label, or, where it is no slip, is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from distillkit.errors import SourceError
from distillkit.system.wording import count
from distillkit.types import Sample, class_number

_FEW = 0.1  # of the labels of a corpus may be none
_STRAY = 2  # a name that comes more often is a class that the file of names lacks
LAST = "as the last line, which moves no other class"
_REMEMBERED = 10_000  # names that are no class
# What is left out of a row that is kept: what it is, as "caption(s)", the row's key, "text" or "label", and why.
Lose = Callable[[str, str, str, str], None]


class Labels:
    """Reads the labels of a corpus, and counts those that are no number of a class."""

    def __init__(
        self,
        where: str,
        knobs: list[str],
        lose: Lose | None,
        number: Callable[[object], int | None] = class_number,
        more: str | None = None,
    ):
        """`more`: where classes have names, how another one becomes a class, behind "add it"."""
        self.where, self.lose, self.number, self.seen, self.wrong, self.first = where, lose, number, 0, 0, ""
        self.what = "class numbers" if more is None else "names of a class"
        self.lacking = Counter[str]()  # names of no class, in the words of their refusal
        self.told = ""  # of those that cost their rows nothing else, with the first of them
        self.more = more
        self.cure = f"mend them, or name others in {' or '.join(knobs)}" if knobs else "mend them"
        if more is not None:  # the step where a list of names is in use, as of one name that comes again
            self.cure = f"add each name that it lacks {more}, or {self.cure}"
        elif knobs:  # of a recipe's source
            self.cure += ", or, if they are names of classes, say so: class_names = FILE of the corpus, one a line"

    def read(self, block: list[Sample]) -> list[int | None]:
        return [None if sample.label is None else self._number(sample) for sample in block]

    def _number(self, sample: Sample) -> int | None:
        self.seen += 1
        try:
            return self.number(sample.label)
        except ValueError as error:
            self.wrong += 1
            self.first = self.first or f"of {sample.key} ({error})"
            self.told = self.told or f"label(s) that are no class (the first: {error})"
            if self.more is not None and (len(self.lacking) < _REMEMBERED or str(error) in self.lacking):
                self.lacking[str(error)] += 1
            if self.lose:
                self.lose(self.told, sample.key, "label", str(error))
            return None

    def refuse_wrong(self) -> None:
        """SourceError where many are wrong: then they are no labels; or of one name that comes again and again: then it
        is a class. A few cost their rows nothing else.
        """
        if self.wrong > (self.seen * _FEW if self.lose else 0):
            raise SourceError(
                f"{self.where}: {self.wrong:,} of {count(self.seen, 'label')} are no {self.what}, as that "
                f"{self.first}; {self.cure}"
            )
        told, often = next(iter(self.lacking.most_common(1)), ("", 0))
        if often > _STRAY:
            raise SourceError(
                f"{self.where}: {told}, and {count(often, 'row')} have it; add it {self.more}, or mend the rows"
            )
