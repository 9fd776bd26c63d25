"""Block shuffle: every row once a turn, in an order that the seed alone decides, from long runs of the files."""

import threading

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.blocks import BlockOrder, ReadAhead

NONE = np.empty(0, np.int64)


def whole(order, turn=0):
    return order.rows(turn, 0, len(order))


@pytest.mark.parametrize("rows", [0, 1, 15, 64, 150, 1000])
@pytest.mark.parametrize("pool", [16, 100, 100_000])
def test_every_row_that_has_features_comes_once(rows, pool):
    failed = np.unique(np.array([0, 5, rows // 2, rows - 1]))
    failed = failed[(failed >= 0) & (failed < rows)]
    order = BlockOrder(rows, 64, failed, pool, [0])
    assert len(order) == rows - len(failed)
    assert np.sort(whole(order)).tolist() == [row for row in range(rows) if row not in failed]


def test_the_seed_and_the_turn_alone_decide():
    order, again = BlockOrder(1000, 128, NONE, 64, [7, 1]), BlockOrder(1000, 128, NONE, 64, [7, 1])
    assert np.array_equal(whole(order, 3), whole(again, 3)) and not np.array_equal(whole(order, 3), whole(order, 4))
    assert not np.array_equal(whole(order), whole(BlockOrder(1000, 128, NONE, 64, [8, 1])))
    assert not np.array_equal(whole(order), whole(BlockOrder(1000, 128, NONE, 64, [7, 2])))


def test_any_places_can_be_had_without_those_before():
    order = BlockOrder(1000, 128, np.array([3, 400]), 64, [0])
    want = whole(order, 2)
    for first, stop in ((0, 1), (0, 998), (60, 70), (500, 777), (990, 2000), (998, 1010), (5, 5), (9, 2)):
        fresh = BlockOrder(1000, 128, np.array([3, 400]), 64, [0])
        assert fresh.rows(2, first, stop).tolist() == want[first:stop].tolist()


def test_a_pool_is_sixteen_runs_of_single_shards():
    order = BlockOrder(1000, 100, NONE, 480, [0])  # blocks of 30 rows: 4 to a shard, the last of them with 10
    seen = []
    for pool in order.pools(0, 0, len(order)):
        runs = order.runs(0, pool)
        assert len(runs) <= 16 and runs == sorted(runs) and all(stop - first in (30, 10) for first, stop in runs)
        assert all(first // 100 == (stop - 1) // 100 for first, stop in runs)
        count = sum(stop - first for first, stop in runs)
        rows = order.rows(0, len(seen), len(seen) + count)
        assert sorted(rows) == sorted(row for run in runs for row in range(*run)) and list(rows) != sorted(rows)
        seen += rows.tolist()
    assert len(seen) == 1000


def test_blocks_come_from_all_over_the_store():
    rows = whole(BlockOrder(100_000, 10_000, NONE, 1600, [0]))[:1600]
    assert len(set(rows // 10_000)) >= 6 and len(set(rows // 100)) == 16


def test_the_blocks_of_a_shard_come_near_each_other_among_those_of_sixteen_others():
    order = BlockOrder(100_000, 1000, NONE, 2000, [0])  # 100 shards of 8 blocks
    for turn in (0, 1):
        shards = [np.unique(order.rows(turn, place, place + 2000) // 1000) for place in range(0, 100_000, 2000)]
        assert np.mean([len(some) for some in shards]) > 9 and min(len(some) for some in shards) >= 5
        first, last = ([shard in some for some in shards] for shard in (7, 60))
        for pools in (first, last):  # of fifty pools of two shards' rows, a shard has its own in ten
            where = np.flatnonzero(pools)
            assert where[-1] - where[0] <= 10
        together = [len(np.unique(np.concatenate(shards[at : at + 2]))) for at in range(49)]
        assert max(together) <= 22
    assert not np.array_equal(order.rows(0, 0, 100), order.rows(1, 0, 100))


def test_blocks_without_a_row_are_not_read():
    order = BlockOrder(100_000, 10_000, np.setdiff1d(np.arange(100_000), [5, 77, 50_000]), 1600, [0])
    assert sorted(whole(order)) == [5, 77, 50_000] and order.runs(0, 0) == [(0, 100), (50_000, 50_100)]


def test_rows_are_in_memory_before_they_are_needed():
    order, read = BlockOrder(1000, 128, NONE, 160, [0]), []
    ahead = ReadAhead(order, lambda first, stop: read.append((first, stop)))
    for place in range(0, 1000, 50):
        rows = ahead.rows(0, place, place + 50)
        assert np.array_equal(rows, order.rows(0, place, place + 50))
        assert all(any(first <= row < stop for first, stop in read) for row in rows)
    assert sorted(read) == sorted(run for pool in order.pools(0, 0, 1000) for run in order.runs(0, pool))


def test_the_disk_reads_one_block_while_another_comes_to_memory():
    both = threading.Barrier(2, timeout=30)  # an error, unless two blocks are read at once
    ahead = ReadAhead(BlockOrder(1024, 1024, NONE, 1024, [0]), lambda first, stop: both.wait())
    assert sorted(ahead.rows(0, 0, 1024)) == list(range(1024))


def test_what_fails_while_reading_ahead_is_told():
    def fail(first, stop):
        raise StoreError("the disk is gone")

    with pytest.raises(StoreError, match="the disk is gone"):
        ReadAhead(BlockOrder(100, 64, NONE, 16, [0]), fail).rows(0, 0, 1)


@pytest.mark.parametrize("pool", [-1, 0, 15])
def test_pools_that_shuffle_nothing_are_refused(pool):
    with pytest.raises(StoreError, match=f"a pool of {pool} rows shuffles nothing; take at least 16"):
        BlockOrder(100, 64, NONE, pool, [0])


def test_forty_million_rows_take_no_memory():
    order = BlockOrder(40_000_000, 65_536, np.array([12_345_678]), 131_072, [0])
    assert len(order) == 39_999_999 and len(order._blocks) < 5000
    assert len(np.unique(order.rows(5, 30_000_000, 30_001_024))) == 1024
