"""What a shard cost, and what a run says while it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distillkit.system.wording import pace

_QUIET = 10.0  # seconds between two lines within a shard


@dataclass
class Cost:
    """Where the time of a shard went, in seconds.

    `forward` is the teacher's own part, by what it looked at: "image" and "text", or "name/image" of several teachers.
    `images` is how many it was shown: rows may share one.
    `cut`: by teacher, how many texts were longer than it can read.
    `dropped`: images that could only be decoded without what lies beside their pixels.
    `wait` is time without any input for a teacher, or until the shard before was written. `halved`: teachers without
    memory for a whole batch, so the last bits of what they said may be others than with more of it.
    """

    forward: dict[str, float] = field(default_factory=dict)
    images: int = 0
    dropped: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    wait: float = 0.0
    halved: list[str] = field(default_factory=list)
    started: float = field(default_factory=lambda: time.perf_counter())

    def line(self, shard: int, rows: int, failed: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.started
        return {
            "shard": shard,
            "rows": rows,
            "failed": failed,
            "seconds": round(seconds, 3),
            "forward_seconds": {name: round(value, 3) for name, value in self.forward.items()},
            "wait_share": round(self.wait / seconds, 4),
            **({"images": self.images} if 0 < self.images < rows - failed else {}),
            **({"dropped": self.dropped} if self.dropped else {}),
            **({"cut": cut} if (cut := {alias: count for alias, count in self.cut.items() if count}) else {}),
            **({"halved": self.halved} if self.halved else {}),
        }


class Progress:
    """Lines such as `images: shard 3/20, 310 rows/s, 4% waiting for data, 2 failed, 0:08:20 left`, of this run."""

    def __init__(self, name: str, rows: int, shards: int, say: Callable[[str], None]):
        self.name, self.rows, self.shards, self.say = name, rows, shards, say
        self.started = self.said = time.perf_counter()
        self.done = self.failed = 0
        self.waited = self.spent = 0.0  # of all shards together: workers have them at the same time

    def within(self, shard: int, rows: int, failed: int, cost: Cost) -> None:
        """Some rows of a shard are done; told now and then."""
        now = time.perf_counter()
        if now - self.said > _QUIET:
            spent = self.spent + now - cost.started
            self._tell(shard, self.done + rows, self.failed + failed, (self.waited + cost.wait) / spent)

    def finished(self, line: dict[str, Any]) -> None:
        """A shard is done; `line` is its cost."""
        self.done += line["rows"]
        self.failed += line["failed"]
        self.waited += line["wait_share"] * line["seconds"]
        self.spent += line["seconds"]
        self._tell(line["shard"], self.done, self.failed, self.waited / max(self.spent, 1e-9))

    def _tell(self, shard: int, done: int, failed: int, wait_share: float) -> None:
        self.said = time.perf_counter()
        rate = done / (self.said - self.started)
        self.say(
            f"{self.name}: shard {shard + 1}/{self.shards}, {pace(rate)}, "
            f"{100 * wait_share:.0f}% waiting for data, {failed} failed, {duration((self.rows - done) / rate)} left"
        )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, with days before them where it takes some."""
    days, rest = divmod(round(seconds), 86_400)
    text = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text
