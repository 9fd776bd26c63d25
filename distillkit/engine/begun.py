"""Shards that take long: what is computed of the one in hand is kept every five minutes, and when somebody stops it;
the next run goes on there.

Batches begin where they would have begun, so the bits are those of a run that was never stopped.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field as Rule
from pydantic import ValidationError

from distillkit.engine.distinct import Distinct
from distillkit.engine.job import Job
from distillkit.engine.shard import Shard
from distillkit.store.format.field import Strict
from distillkit.store.writing import begun

EVERY = 300.0  # seconds
LEAST = 10.0  # seconds of work that whoever is stopped (Ctrl-C, a scheduler) still keeps


class Facts(Strict):
    """How far a shard was. `reached`: images, and batches of texts; `rows`: of the pass that came furthest."""

    batch_size: int
    reached: dict[str, Annotated[int, Rule(ge=0)]]
    rows: int
    failures: list[tuple[int, str, str]]
    clipped: dict[str, Annotated[int, Rule(ge=0)]]
    images: Annotated[int, Rule(ge=0)]
    dropped: Annotated[int, Rule(ge=0)]
    # Records of before have neither.
    forward: dict[str, Annotated[float, Rule(ge=0)]] = Rule(default_factory=dict)
    wait: Annotated[float, Rule(ge=0)] = 0.0
    seconds: Annotated[float, Rule(ge=0)]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Facts | None:
        """None where something is strange: then nothing of it is believed."""
        try:
            return cls.model_validate_json(json.dumps(said))
        except ValidationError:
            return None

    def can_be(self, job: Job, rows: int) -> bool:
        """Whether it was kept of a shard of so many rows, whose batches are those of `job`."""
        most = {"image": rows, "text": -(-rows // job.corpus.batch_size) * len(job.teachers)}
        return (
            self.batch_size == job.corpus.batch_size
            and self.reached.keys() <= job.passes.keys()
            and all(reached <= most[what] for what, reached in self.reached.items())
            and 0 <= self.rows <= rows * len(job.teachers)
            and all(0 <= row < rows for row, _, _ in self.failures)
            and self.clipped.keys() <= job.fields.keys()
        )


@dataclass
class Begun:
    """What is kept of the shards of the store that `job` writes at `path`; where that is behind a URL, on this machine.

    `whose`: a digest of the identity of that store.
    """

    job: Job
    path: Path
    whose: str
    last: float = field(default_factory=time.monotonic)
    _found: dict[int, Any] = field(default_factory=dict)

    def images_shown(self, number: int, rows: int) -> int:
        """How many images of a shard the teachers have seen; 0 where nothing of the shard was kept."""
        found = self._of(number, rows)
        return found[1].reached.get("image", 0) if found else 0

    def resume(self, shard: Shard) -> None:
        """Put into a shard what was kept of it."""
        found = self._of(shard.number, shard.plan.num_rows)
        if found is None:
            return
        shard.arrays, facts, stamps = found
        shard.stamps = shard.stamps if stamps is None else stamps
        self._found[shard.number] = ({}, facts, None)  # the arrays are the shard's from here on
        shard.reached, shard.rows_reached = dict(facts.reached), facts.rows
        shard.failures = list(facts.failures)
        shard.clipped = Counter(facts.clipped)
        shard.cost.images, shard.cost.dropped = facts.images, facts.dropped
        shard.cost.forward, shard.cost.wait = dict(facts.forward), facts.wait
        shard.cost.started -= facts.seconds

    @property
    def due(self) -> bool:
        """Whether so much time has gone since something was kept or committed."""
        return self._older_than(EVERY)

    @property
    def worth_it(self) -> bool:
        """Whether it would be a pity to lose what was computed since."""
        return self._older_than(LEAST)

    def keep(self, shard: Shard) -> None:
        """All that `reached` counts is in its arrays by now."""
        begun.keep(self.path, shard.number, shard.arrays, self._facts(shard), shard.stamps, self.whose)
        self.last = time.monotonic()

    def committed(self) -> None:
        """A shard is, so nothing can be lost for a while."""
        self.last = time.monotonic()

    def _older_than(self, seconds: float) -> bool:
        return time.monotonic() - self.last >= seconds

    def _of(self, number: int, rows: int) -> Any:
        if number not in self._found:
            self._found[number] = None
            if found := begun.kept(self.path, number, self.job.fields, rows, self.whose):
                arrays, said, stamps = found
                facts = Facts.of(said)
                fits = facts is not None and facts.can_be(self.job, rows)
                self._found[number] = (arrays, facts, stamps) if fits else None
        return self._found[number]

    def _facts(self, shard: Shard) -> dict[str, Any]:
        """Failures that are made again are not kept: of texts, and of images that were only made ahead."""
        images = Distinct(shard.job, shard.plan)
        shown = shard.reached.get("image", 0)
        failures = [
            one
            for one in list(shard.failures)
            if one[1] == "forward" or (one[1] == "decode" and images.of(one[0]) < shown)
        ]
        return {
            "batch_size": shard.job.corpus.batch_size,
            "reached": shard.reached,
            "rows": shard.rows_reached,
            "failures": failures,
            "clipped": dict(shard.clipped),
            "images": shard.cost.images,
            "dropped": shard.cost.dropped,
            "forward": dict(shard.cost.forward),
            "wait": shard.cost.wait,
            "seconds": time.perf_counter() - shard.cost.started,
        }
