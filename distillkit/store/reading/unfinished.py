"""A store that was begun and is not complete: how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.format.layout import BEGUN
from distillkit.store.format.log import logged
from distillkit.store.format.maker import maker, typed_again
from distillkit.store.format.manifest import FILE_NAME
from distillkit.system.atomic import parsed_json
from distillkit.system.record import unsealed
from distillkit.system.wording import count, pace


@dataclass(frozen=True)
class Unfinished:
    """`committed` of `rows` planned rows, in `shards` of `of` shards. `seconds`: of those that the log tells.

    `begun`: rows that are kept of shards that are not whole yet, where some are. `command`: what completes it, where
    the log tells how it was begun.
    """

    path: Path
    rows: int
    committed: int
    shards: int
    of: int
    rows_per_shard: int
    failed: int
    seconds: float
    begun: int = 0
    command: str | None = None

    @property
    def lines(self) -> list[str]:
        """For people; the rate is that of the shards in the log, whoever computed them."""
        kept = f"{count(self.begun, 'row')} {'is' if self.begun == 1 else 'are'}"
        told = [
            f"{self.path}: not complete, {self.committed:,} of {count(self.rows, 'row')} committed, {self.shards} of "
            f"{count(self.of, 'shard')}; a shard is {count(self.rows_per_shard, 'row')}"
            + (f"; of a shard that is not whole yet {kept} kept" if self.begun else "")
        ]
        if self.seconds:
            rate = self.committed / self.seconds
            told.append(f"so far at {pace(rate)}, {self.failed} failed; {self._left(rate)} to go at that rate")
        return told

    def _left(self, rate: float) -> str:
        minutes = (self.rows - self.committed) / rate / 60
        return f"{minutes / 60:.1f} h" if minutes >= 60 else count(max(round(minutes), 1), "minute")


def unfinished(path: Path) -> Unfinished | None:
    """How far the store at `path` is; None where none was begun, or it is complete. StoreError for a damaged plan."""
    plan = path / "plan.json"
    if not plan.is_file() or (path / FILE_NAME).is_file():
        return None
    try:
        begun: dict[str, Any] = parsed_json(plan.read_bytes())
        rows, rows_per_shard = int(begun["rows"]), int(begun["rows_per_shard"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{plan}: damaged ({error!r:.80}); move {path} away and make it again") from error
    of = -(-rows // rows_per_shard)
    there = [shard for shard in range(of) if (path / f"commits/{shard:05d}.json").is_file()]
    lines = [line for line in logged(path) if line.get("shard", line.get("more_of")) in there]
    return Unfinished(
        path,
        rows,
        sum(min(rows_per_shard, rows - shard * rows_per_shard) for shard in there),
        len(there),
        of,
        rows_per_shard,
        sum(line.get("failed", 0) for line in lines),
        sum(line.get("seconds", 0.0) for line in lines),
        begun_of(path)[0],
        _command(path, begun),
    )


def _command(path: Path, begun: dict[str, Any]) -> str | None:
    source, teachers = begun.get("source"), begun.get("teachers")
    kind = maker(source, teachers) if isinstance(source, dict) and isinstance(teachers, dict) else "extract-teacher"
    return typed_again(path, kind)


def begun_of(path: Path) -> tuple[int, float]:
    """Rows that are kept of shards that are not whole yet, and the seconds that they took."""
    facts = [_facts(record) for record in sorted((path / BEGUN).glob("*.json"))]
    return sum(rows for rows, _ in facts), sum(seconds for _, seconds in facts)


def _facts(record: Path) -> tuple[int, float]:
    try:
        facts = unsealed(record.read_bytes())[0]["facts"]
        return int(facts["rows"]), float(facts.get("seconds", 0.0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return 0, 0.0  # damaged: its rows are computed again
