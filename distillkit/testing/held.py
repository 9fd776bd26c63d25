"""What a store of cards must hold, and whether it does."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distillkit.store.format import layout
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.testing.cards import Card, key_of, said
from distillkit.testing.damage import refuses
from distillkit.testing.promise import must
from distillkit.testing.rows import PER_SHARD


@dataclass(frozen=True)
class Held:
    """Rows in order, who spoke of them, and of each committed shard the numbers of its cards that failed."""

    cards: tuple[Card, ...]
    alias: str
    accent: int
    failed: dict[int, frozenset[int]]
    complete: bool = True

    @property
    def shards(self) -> range:
        return range(-(-len(self.cards) // PER_SHARD))

    @property
    def skipped(self) -> int:
        return sum(map(len, self.failed.values()))

    def of_shard(self, shard: int) -> list[int]:
        """The numbers of its cards."""
        return [card.number for card in self.cards[shard * PER_SHARD : (shard + 1) * PER_SHARD]]

    def filled(self, kept: dict[int, frozenset[int]], damaged: Collection[int], shards: Collection[int]) -> Held:
        """The same rows, of which shards are `kept`, and these `shards` are computed now, if they are not."""
        now = {shard: frozenset(damaged) & frozenset(self.of_shard(shard)) for shard in shards}
        failed = now | kept
        return replace(self, failed=failed, complete=len(failed) == len(self.shards))


def found(place: Path, goal: Held, before: Held | None) -> Held | None:
    """How far a run came that was to make `goal` at `place` of what was there `before`; None where nothing is begun.

    AssertionError where a shard that was there is gone, or one holds what neither run can have said.
    """
    if not (place / "plan.json").is_file():
        return None
    failed = {}
    for shard in goal.shards:
        if (place / f"commits/{shard:05d}.json").is_file():
            ledger = place / layout.failures_path(shard)
            lines = ledger.read_text("utf-8").splitlines() if ledger.is_file() else []
            failed[shard] = frozenset(int(json.loads(line)["key"].split()[1]) for line in lines)
            known = [one.failed.get(shard) for one in (goal, before) if one]
            assert failed[shard] in known, f"{place}: shard {shard} failed for {failed[shard]}, not for {known}"
    return replace(goal, failed=failed, complete=(place / FILE_NAME).is_file())


def check(place: Path, held: Held | None, added: Held | None = None) -> None:
    """AssertionError unless the store at `place` is what it must be, number by number."""
    if held is None or not held.complete:
        must("the store exists when its manifest does", refuses(lambda: FeatureStore(place)), "it is opened")
    if held is None:
        return
    there = {shard for shard in held.shards if (place / f"commits/{shard:05d}.json").is_file()}
    must("a shard exists when its commit does", there == held.failed.keys(), f"shards {there}, not {[*held.failed]}")
    if not held.complete:
        return
    problems = verify(place)
    assert not problems, problems[0]
    keys = FeatureStore(place).values("key", np.arange(len(held.cards)))
    assert keys == [key_of(card.number) for card in held.cards], "other rows, or in another order"
    usable = _numbers(place, held, frozenset())
    if added is not None and added.complete:
        _numbers(place, added, frozenset(card.number for card in held.cards) - usable)


def _numbers(place: Path, held: Held, failed_in_base: frozenset[int]) -> frozenset[int]:
    """Check what one teacher said; returns the numbers of the cards that have features."""
    store = FeatureStore(place, held.alias)
    failed = frozenset[int]().union(*held.failed.values())
    ok = [row for row, card in enumerate(held.cards) if card.number not in failed | failed_in_base]
    must("where a field of an addition is used, a row must be `ok` in both", store.ok_rows.tolist() == ok)
    numbers = np.array([card.number for card in held.cards])
    silent = np.array([card.number in failed for card in held.cards])
    mute = np.array([not card.has_text for card in held.cards])
    for field, absent in (("image", silent), ("text", silent | mute)):
        wanted = said(numbers, field, held.accent)
        wanted[absent] = np.nan
        read = store.read(f"{held.alias}/{field}", np.arange(len(numbers))).float().numpy()
        assert np.array_equal(read, wanted, equal_nan=True), f"{place}: other numbers of {held.alias}/{field}"
    return frozenset(numbers[ok].tolist())
