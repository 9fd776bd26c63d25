"""Many writers on a bad bucket, or on a file server whose clients sleep: no row twice, none lost, none of another."""

import random
from contextlib import suppress

import pytest

from distillkit.store.bucket import beginning
from distillkit.store.bucket.remote import Origin
from distillkit.store.writing.writer import StoreWriter
from tests.faults.many.trial import Trial, World, check

# Seeds that found something, and what. Changed code makes other worlds of them, but the kinds have tests of their own.
FOUND = {
    12: "a listing that lagged took back a commit of our own, and the store was never complete",
    42: "two recipes began in one bucket at the same time, and the later plan took the other's shards",
    201: "a machine slept while it began; another recipe began meanwhile, and had its zarr.json and plan replaced",
    44996: "a run whose store was set aside counted the commits of another recipe, and ended with a traceback",
    60952: "a run whose store was set aside made the folder anew; two recipes then laid down their plans in it",
}
ASLEEP = World(shared=True, leased=True, rivals=True, trouble=0, lag=0, sleepy=0.03, deadly=False)
IN_A_BUCKET = World(shared=False, leased=False, rivals=True, trouble=0.02, lag=0, sleepy=0, deadly=True)
LAGGING = World(shared=False, leased=False, rivals=False, trouble=0.02, lag=120, sleepy=0, deadly=True)


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed):
    check(seed)


def test_some_worlds():
    for seed in range(60):
        check(seed)


@pytest.mark.slow
def test_ten_thousand_worlds():
    for seed in range(1000, 11_000):
        check(seed)


def lived(seed, folder, world=None):
    """What is left of a world: its time, what was computed, and every file of the bucket but the log, of real time."""
    trial = Trial(seed, folder, world)
    trial.run()
    files = {name: data for name, data in trial.bucket.files.items() if not name.endswith("extract.jsonl")}
    return trial.turns.now, trial.ledger.computed, files


def test_a_seed_makes_the_same_world_again(tmp_path):
    for seed in (12, 42, 201):
        one, other = (lived(seed, tmp_path / f"{seed}-{time}") for time in range(2))
        assert one == other


def fails(folder, world, count, first=0):
    """The first of so many seeds that ends badly in worlds of a kind; None where none does."""
    for seed in range(first, first + count):
        try:
            lived(seed, folder / str(seed), world)
        except (AssertionError, FileNotFoundError):
            return seed
    return None


def test_a_writer_that_never_looks_whose_store_it_is_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(StoreWriter, "refuse_another_store", lambda self: None)
    assert fails(tmp_path, ASLEEP, 200) is not None


@pytest.mark.long
def test_a_beginning_that_asks_nobody_is_found(tmp_path, monkeypatch):
    def begin(there, identity, names):
        there.push(names)
        there.prove("plan.json", identity)

    monkeypatch.setattr(beginning, "begin", begin)
    assert fails(tmp_path, IN_A_BUCKET, 200, first=400) is not None  # three of a thousand seeds


def test_a_listing_that_is_believed_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(Origin, "size", lambda self, name: None)
    assert fails(tmp_path, LAGGING, 300) is not None


def test_locks_that_keep_nobody_apart_are_found(tmp_path, monkeypatch):
    """Claims are what tells a run of another recipe that the store is being written."""
    monkeypatch.setattr("distillkit.store.writing.claims.Claims._lock", lambda self, first, length: True)
    awake = World(shared=True, leased=False, rivals=True, trouble=0, lag=0, sleepy=0, deadly=False)
    told = []
    for seed in range(30):
        trial = Trial(seed, tmp_path / str(seed), awake)
        with suppress(AssertionError):
            trial.run()
        told += [str(process.error) for process in trial.processes if process.error]
    assert any("another process has begun a store" in line for line in told)


def test_the_worlds_that_are_drawn_are_of_every_kind():
    drawn = [World.drawn(random.Random(seed)) for seed in range(200)]
    for name in ("shared", "leased", "rivals", "deadly", "trouble", "lag", "sleepy"):
        assert len({getattr(world, name) for world in drawn}) > 1
