"""A store from rows that are there: two shards under way at a time, and what went wrong with one is told."""

import threading

import pytest

from distillkit.errors import StoreError
from distillkit.store.writing import fill as module
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from tests.store.conftest import contents


def rows_of(toy):
    def rows(first, stop):
        failures = [(row - first, "decode", error) for row, error in toy.failed.items() if first <= row < stop]
        return {name: array[first:stop].copy() for name, array in toy.arrays.items()}, failures

    return rows


def test_it_is_the_store_that_is_written_shard_by_shard(make_toy, tmp_path):
    want = contents(make_toy(path=tmp_path / "one" / "store").write().path)
    toy = make_toy(path=tmp_path / "two" / "store")
    fill(toy.writer(), rows_of(toy), {"toy": "1"})
    assert contents(toy.path) == want


def test_the_next_shard_does_not_wait_for_the_one_before(make_toy, monkeypatch):
    toy, both, commit = make_toy(rows=128), threading.Barrier(2, timeout=30), StoreWriter.commit
    monkeypatch.setattr(StoreWriter, "commit", lambda *shard: (both.wait(), commit(*shard)))
    fill(toy.writer(), rows_of(toy), {"toy": "1"})  # a barrier that is not reached by two is an error


def test_of_large_shards_one_is_in_memory(make_toy, monkeypatch):
    toy, made = make_toy(), []
    monkeypatch.setattr(module, "_SMALL", 64 * (64 + 64 + 128) - 1)
    writer, rows = toy.writer(), rows_of(toy)

    def watched(first, stop):
        made.append([shard for shard in range(writer.shards) if writer.committed(shard)])
        return rows(first, stop)

    fill(writer, watched, {"toy": "1"})
    assert made == [[], [0], [0, 1]]


def test_a_shard_that_fails_stops_it_and_the_others_stay(make_toy, monkeypatch):
    toy, commit = make_toy(), StoreWriter.commit

    def fail(writer, shard, *what):
        if shard == 1:
            raise StoreError("no room for shard 1")
        commit(writer, shard, *what)

    monkeypatch.setattr(StoreWriter, "commit", fail)
    writer = toy.writer()
    with pytest.raises(StoreError, match="no room for shard 1"):
        fill(writer, rows_of(toy), {"toy": "1"})
    assert writer.committed(0) and not writer.finished()
    monkeypatch.undo()
    assert fill(toy.writer(), rows_of(toy), {"toy": "1"}).rows == 150
