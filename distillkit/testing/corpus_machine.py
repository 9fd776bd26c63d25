"""A corpus of cards and its store, by the real commands: extract, resume, append, retry, add a teacher."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from distillkit.engine.append import append
from distillkit.engine.retry import retry
from distillkit.errors import DiskFull, StoreError
from distillkit.extract import extract
from distillkit.recipe import ExtractRecipe
from distillkit.store.format.replaced import beside
from distillkit.store.writing.claims import Part
from distillkit.testing.cards import Box, Card, Cards, Teller, boxes
from distillkit.testing.held import Held, check, found
from distillkit.testing.promise import must
from distillkit.testing.rows import PER_SHARD
from distillkit.testing.trouble import Killed, Trouble, another_process_has, befalling, troubles

_NOT_CONTINUED = "A writer must not continue a store whose `plan.json` differs from its own"


class CorpusMachine(RuleBasedStateMachine):
    """`store` is what must be there, `added` beside it, `successor` is on its way to its place, `aside` was there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="distillkit-"))
        self.path = self.folder / "out/cards"
        self.box = boxes[self.folder.name] = Box()
        self.store: Held | None = None
        self.added: Held | None = None
        self.successor: Held | None = None
        self.aside: dict[Path, tuple[Held, Held | None]] = {}
        self.seen: set[Path] = set()  # what was aside before the last command
        self.moving = False  # the store is aside, and its successor not yet in its place

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        del boxes[self.folder.name]

    # The corpus.

    @initialize(count=st.integers(1, 2 * PER_SHARD), torn=st.sets(st.integers(1, PER_SHARD), max_size=4))
    def dealt(self, count: int, torn: set[int]) -> None:
        self.grow(count, 0)
        self.box.damaged = torn & {card.number for card in self.box.cards}

    @precondition(lambda self: len(self.box.cards) < 4 * PER_SHARD)
    @rule(count=st.integers(1, PER_SHARD), place=st.integers(0, 2 * PER_SHARD))
    def grow(self, count: int, place: int) -> None:
        """More cards somewhere in the corpus, but the first stays the first."""
        have = len(self.box.cards)
        place = min(place + 1, have)
        self.box.cards[place:place] = [Card(number, number % 5 != 2) for number in range(have, have + count)]

    @precondition(lambda self: len(self.box.cards) > 1)
    @rule(data=st.data())
    def tear(self, data: st.DataObject) -> None:
        """An image cannot be read any more; of the first card it always can."""
        self.box.damaged.add(data.draw(st.integers(1, len(self.box.cards) - 1)))

    @precondition(lambda self: self.box.damaged)
    @rule(data=st.data())
    def glue(self, data: st.DataObject) -> None:
        """Some can be read again."""
        self.box.damaged -= data.draw(st.sets(st.sampled_from(sorted(self.box.damaged)), min_size=1))

    # Commands.

    def run(self, trouble: Trouble = None, also: bool = False, **options: Any) -> str | None:
        """The command; returns None, "stopped", or what it refused with."""
        aliases = {"one": 1} | ({"two": 2} if also else {})
        recipe = {
            "name": "cards",
            "out": str(self.path.parent),
            "decode_threads": 1,
            "teachers": [{"name": name, "kind": Teller.kind, "accent": accent} for name, accent in aliases.items()],
            "corpora": [
                {
                    "name": self.path.name,
                    "source": {"kind": Cards.kind, "box": self.folder.name},
                    "fields": [f"{name}/{field}" for name in aliases for field in Teller.fields],
                    "rows_per_shard": PER_SHARD,
                    "max_failures": 1.0,
                }
            ],
        }
        self.seen = self._asides()
        try:
            with befalling(trouble):
                extract(ExtractRecipe.model_validate(recipe), lambda line: None, **options)
        except (Killed, DiskFull):
            return "stopped"
        except StoreError as error:
            return str(error)
        except OSError as error:
            assert error.errno == errno.ENOSPC and trouble, error
            return "stopped"
        finally:
            self.moving = self.moving and not self.path.exists()
        return None

    @property
    def grown(self) -> list[Card]:
        """The cards that the store lacks."""
        had = set(self.store.cards) if self.store else set[Card]()
        return [card for card in self.box.cards if card not in had]

    @precondition(lambda self: self.store and self.store.failed and self.grown)
    @rule(trouble=troubles())
    def extract_another_corpus(self, trouble: Trouble) -> None:
        """What is committed does not make way unasked."""
        must(_NOT_CONTINUED, self.run(trouble) is not None, "another corpus was extracted into it")

    @precondition(lambda self: not (self.store and self.store.failed and self.grown))
    @rule(trouble=troubles(), part=st.sampled_from([Part(1, 1), Part(1, 1), Part(1, 2), Part(2, 2)]))
    def extract(self, trouble: Trouble, part: Part) -> None:
        """All of it, or half of its shards; what is committed stays."""
        before = None if self.grown else self.store  # of another corpus: nothing of it is committed, so it makes way
        goal = before or Held(tuple(self.box.cards), "one", 1, {}, False)
        if not goal.complete:
            goal = goal.filled(goal.failed, self.box.damaged, part.shards(len(goal.shards)))
        outcome = self.run(trouble, part=part)
        assert outcome in (None, "stopped"), outcome
        if outcome is None:
            self.store = goal
        elif not self.moving:
            self.store = self._reached(self.path, goal, self.store)

    @precondition(lambda self: self.store and self.store.complete and not self.moving)
    @rule(trouble=troubles())
    def add_a_teacher(self, trouble: Trouble) -> None:
        """A second one is asked about the same cards, and the store stays what it is."""
        outcome, grown = self.run(trouble, also=True), self.grown
        if grown:
            assert outcome is not None, "added to another corpus"
            return
        assert outcome in (None, "stopped"), outcome
        assert self.store
        goal = Held(self.store.cards, "two", 2, {}, False)
        kept = self.added.failed if self.added else {}
        goal = goal.filled(kept, self.box.damaged, goal.shards)
        self.added = goal if outcome is None else found(self.path / "added/two", goal, self.added)

    @precondition(lambda self: self.store and self.store.complete and self.grown and not self.moving)
    @rule(trouble=troubles())
    def append(self, trouble: Trouble) -> None:
        """New cards go behind those that are there; these are not looked at again."""
        old, new = self.store, self.grown
        outcome = self.run(trouble, instead=append)
        assert old
        goal = Held((*old.cards, *new), "one", 1, {}, False)
        full, rest = divmod(len(old.cards), PER_SHARD)
        kept = {shard: old.failed[shard] for shard in range(full)}
        if rest:
            first = old.failed[full]
            kept[full] = first | self.box.damaged & {card.number for card in new} & {*goal.of_shard(full)}
        kept |= self.successor.failed if self.successor and self.successor.cards == goal.cards else {}
        self._replaced(outcome, goal.filled(kept, self.box.damaged, goal.shards))

    @precondition(lambda self: self.store and self.store.complete and self.store.skipped and not self.moving)
    @rule(trouble=troubles())
    def retry(self, trouble: Trouble) -> None:
        """Shards with failures are looked at again; the store stays where no fewer fail."""
        old, new = self.store, self.grown
        outcome = self.run(trouble, instead=retry)
        assert old
        if new:
            assert outcome is not None, "another corpus was looked at"
            return
        begun = self.successor.failed if self.successor and self.successor.cards == old.cards else {}
        kept = {shard: failed for shard, failed in old.failed.items() if not failed}
        kept |= {shard: failed for shard, failed in begun.items() if not failed}
        self._replaced(outcome, old.filled(kept, self.box.damaged, old.shards))

    def _replaced(self, outcome: str | None, goal: Held) -> None:
        """The successor took the store's place, or is no better, or is on its way."""
        assert outcome in (None, "stopped"), outcome
        old = self.store
        assert old
        places = self._asides() - self.seen
        better = goal.cards != old.cards or goal.skipped < old.skipped
        assert places or outcome or not better, "the old store is nowhere"
        if places:
            assert better, "what is no better took its place"
            (place,) = places
            self.aside[place] = old, self.added
            self.store, self.added, self.successor = goal, None, None
            self.moving = not self.path.exists()
        else:
            self.successor = self._reached(beside(self.path), goal, self.successor) if outcome else None

    def _asides(self) -> set[Path]:
        return {*self.path.parent.glob(f"{self.path.name}.before-*")}

    def _reached(self, place: Path, goal: Held, before: Held | None) -> Held | None:
        """How far a run came; where it stopped before it began, what was there before is there still."""
        plan = place / "plan.json"
        if before and plan.is_file() and json.loads(plan.read_bytes())["rows"] != len(goal.cards):
            return before
        return found(place, goal, before)

    @precondition(lambda self: not self.moving)
    @rule(data=st.data())
    def extract_beside_another_process(self, data: st.DataObject) -> None:
        """What it has claimed is left to it; where it has all, that is told."""
        if self.store and (self.store.complete or self.grown):
            return
        goal = self.store or Held(tuple(self.box.cards), "one", 1, {}, False)
        todo = [shard for shard in goal.shards if shard not in goal.failed]
        theirs = data.draw(st.sets(st.sampled_from(todo), min_size=1)) if todo else set[int]()
        with another_process_has(self.path, theirs):
            outcome = self.run()
        mine = [shard for shard in todo if shard not in theirs]
        if self.store is None and not mine:
            assert outcome and not self.path.exists(), "a store was begun of which another process has all"
            return
        assert (outcome is None) == bool(mine or not todo), outcome
        self.store = found(self.path, goal.filled(goal.failed, self.box.damaged, mine), self.store)
        assert self.store and self.store.failed.keys() == {*goal.failed, *mine}, "another one's shard was written"

    # What must hold.

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        check(beside(self.path) if self.moving else self.path, self.store, self.added)
        for place, (held, added) in [*self.aside.items()][-2:]:
            check(place, held, added)
