"""What a source passed over, followed and lost on its way: counted, for one line when a corpus is planned."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from distillkit.sources._places import printable


class Account:
    """`passed`: what was not taken, by what it is; `links`: links to folders that were followed; `lost`: what was left
    out of rows that were taken, such as a caption that is no text; `found`: what there was in place of what a source
    looked for, such as "its members end in .txt".
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.links = 0
        self.found = ""

    def pass_over(self, name: str) -> None:
        """A file that is not taken is counted by the ending of its name."""
        self.passed[printable(PurePosixPath(name).suffix.lower()) or "without an ending"] += 1

    def line(self, taken: int) -> str:
        """Such as "taken 7; passed over: 12 .mp4, 3 hidden; 2 links followed"."""
        parts = [f"taken {taken:,}"]
        if self.passed:
            parts.append(f"passed over: {_counted(self.passed)}")
        if self.links:
            parts.append(f"{self.links:,} {'link' if self.links == 1 else 'links'} followed")
        if self.lost:
            parts.append(f"left out: {_counted(self.lost)}")
        return "; ".join(parts)


def _counted(things: Counter[str]) -> str:
    return ", ".join(
        f"{count:,} {what}" for what, count in sorted(things.items(), key=lambda item: (-item[1], item[0]))
    )
