"""What a shard cost, and what a run says while it goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from distillkit.callable import Say
from distillkit.system.wording import pace

_QUIET = 10.0  # seconds between two lines within a shard
_CALLED = {"image": "images", "text": "texts"}


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
    """Lines such as `images: shard 3/20, 310 rows/s, 4% waiting for data, 2 failed, 0:08:20 left`, of this run.

    `passes`: what the rows of a shard are asked about, one after the other: "image" and "text" go at paces of their
    own, and how long the second takes is known when it has begun.
    """

    def __init__(self, name: str, rows: int, shards: int, say: Say, passes: Sequence[str] = ("image",)):
        self.name, self.rows, self.shards, self.say, self.passes = name, rows, shards, say, tuple(passes)
        self.started = self.said = time.perf_counter()
        self.done = self.failed = 0
        self.waited = self.spent = 0.0  # of all shards together: workers have them at the same time
        self._pass: tuple[int, str] | None = None
        self._begun = self._last = self.started
        self._each: dict[str, float] = {}  # seconds of a row, of every pass that was seen

    def within(self, shard: int, rows: int, failed: int, cost: Cost, what: str = "image", of: int = 0) -> None:
        """Some of the rows of a shard, which has `of`, are through the pass `what`; told now and then."""
        now = time.perf_counter()
        if (shard, what) != self._pass:
            # What a shard cost before this run, if it is gone on with, is no time of the rows that are counted here.
            first = max(cost.started, self.started)
            self._begun = self._last if self._pass and self._pass[0] == shard else first
            self._pass = (shard, what)
        self._last, self._each[what] = now, max(now - self._begun, 1e-9) / max(rows, 1)
        if now - self.said <= _QUIET:
            return
        wait_share = (self.waited + cost.wait) / (self.spent + now - cost.started)
        if len(self.passes) == 1:
            self._tell(shard, self.done + rows, self.failed + failed, wait_share)
            return
        self.said, each = now, self._each
        behind = self.passes[self.passes.index(what) + 1 :]
        left = (of - rows) * each[what] + of * sum(each.get(one, 0.0) for one in behind)
        left += (self.rows - self.done - of) * sum(each.values())
        unseen = [_CALLED[one] for one in behind if one not in each]
        self.say(
            f"{self.name}: shard {shard + 1}/{self.shards}, {_CALLED[what]} at {pace(1 / each[what])}, "
            f"{100 * wait_share:.0f}% waiting for data, {self.failed + failed} failed, {duration(left)} left"
            + "".join(f", and the {one}, which come behind" for one in unseen)
        )

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
