"""How far mining is: a line for every shard, and between them at most one every ten seconds."""

from __future__ import annotations

import time
from pathlib import Path

from distillkit.callable import Say
from distillkit.system.wording import pace

_EVERY = 10.0  # seconds


class Progress:
    """Of `todo` shards, which stand among `shards` of the addition at `path`."""

    def __init__(self, path: Path, todo: int, shards: int, say: Say):
        self.path, self.todo, self.shards, self.say = path, todo, shards, say
        self.done, self.started = 0, time.perf_counter()
        self.said = self.began = self.started

    def within(self, shard: int, share: float) -> None:
        """`share` of the queries of a shard are answered."""
        if time.perf_counter() - self.said >= _EVERY and share < 1:
            self._say(shard, f"{100 * share:.0f} % of its queries", self.done + share)

    def took(self) -> float:
        """Seconds, until now, of the shard in hand."""
        return time.perf_counter() - self.began

    def finished(self, shard: int, rows: int, peak_bytes: int) -> None:
        """A shard is committed."""
        seconds, self.began, self.done = self.took(), time.perf_counter(), self.done + 1
        told = f"{pace(rows / seconds, 'queries')}, memory at most {peak_bytes >> 20:,} MiB"
        self._say(shard, told, self.done)

    def _say(self, shard: int, told: str, done: float) -> None:
        self.said = time.perf_counter()
        left = (self.said - self.started) * (self.todo / done - 1)
        self.say(f"{self.path}: shard {shard + 1}/{self.shards}, {told}, {left:.0f} s left")
