"""What a source passed over, followed and lost on its way: counted, for one line when a corpus is planned."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from distillkit.errors import SourceError
from distillkit.sources._places import printable
from distillkit.system.wording import count, several

Loss = dict[str, str]
_MOST_LOSSES = 100_000  # told one by one; the others are only counted


class Account:
    """`passed`: what was not taken, by what it is; `links`: links to folders that were followed; `lost`: what was left
    out of rows that were taken, such as a caption that is no text; `found`: what there was in place of what a source
    looked for, such as "its members end in .txt"; `notes`: what else is to be said; `losses`: key, stage and
    error of what was left out; `heard`: whether some caption was not. What is counted is named as "key(s)".
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.links = 0
        self.found = ""
        self.notes: list[str] = []
        self.losses: list[Loss] = []
        self.heard = False

    def pass_over(self, name: str) -> None:
        """A file that is not taken is counted by the ending of its name."""
        self.passed[printable(PurePosixPath(name).suffix.lower()) or "without an ending"] += 1

    def lose(self, what: str, key: str, stage: str, reason: str) -> None:
        """Something of a row that is kept is left out: counted as `what`, and the first of them told one by one."""
        self.lost[what] += 1
        if len(self.losses) < _MOST_LOSSES:
            self.losses.append({"key": key, "stage": stage, "error": printable(reason)})

    def refuse_if_unheard(self, where: str, cure: str) -> None:
        """SourceError where captions were left out and none was kept: then they are no captions, or a knob is wrong."""
        lost = next((loss for loss in self.losses if loss["stage"] == "text"), None)
        if lost and not self.heard:
            raise SourceError(f"{where}: not one caption can be read, as of {lost['key']}: {lost['error']}; {cure}")

    def line(self, taken: int) -> str:
        """Such as "7 samples taken; passed over: 12 .mp4, 3 hidden; 2 links followed"."""
        parts = [f"{count(taken, 'sample')} taken"]
        if self.passed:
            parts.append(f"passed over: {_counted(self.passed)}")
        if self.links:
            parts.append(f"{count(self.links, 'link')} followed")
        if self.lost:
            parts.append(f"left out: {_counted(self.lost)}")
        return "; ".join([*parts, *self.notes])


def _counted(things: Counter[str]) -> str:
    return ", ".join(
        several(number, what) for what, number in sorted(things.items(), key=lambda item: (-item[1], item[0]))
    )
