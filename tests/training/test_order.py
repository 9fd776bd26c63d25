"""Every usable row comes once in a pass, whether the order is a list or computed."""

import numpy as np
import pytest

from distillkit.training import order
from distillkit.training.order import Order


class Rows:
    def __init__(self, rows, failed=()):
        self.rows, self.failed_rows = rows, np.array(failed, np.int64)

    def __len__(self):
        return self.rows


@pytest.mark.parametrize("listed", [1 << 22, 0])
@pytest.mark.parametrize(("rows", "failed"), [(1, []), (2, [0]), (70, []), (1000, [0, 1, 5, 999]), (65, [64])])
def test_a_pass_has_every_usable_row_once(monkeypatch, listed, rows, failed):
    monkeypatch.setattr(order, "_LISTED", listed)
    made = Order(Rows(rows, failed), 3, (0,))
    passes = [made.rows(turn, 0, rows) for turn in (0, 1)]
    assert all(sorted(one) == sorted(set(range(rows)) - set(failed)) for one in passes)
    assert rows < 10 or not np.array_equal(*passes)
    halves = np.concatenate([made.rows(0, 0, rows // 2), made.rows(0, rows // 2, rows)])
    assert np.array_equal(halves, passes[0])


def test_seed_and_corpus_have_orders_of_their_own(monkeypatch):
    for listed in (1 << 22, 0):
        monkeypatch.setattr(order, "_LISTED", listed)
        orders = [
            Order(Rows(100), seed, stream).rows(0, 0, 100) for seed, stream in ((0, (0,)), (1, (0,)), (0, (0, 1)))
        ]
        assert len({tuple(one) for one in orders}) == 3


def test_an_order_of_forty_million_takes_no_list(monkeypatch):
    made = Order(Rows(40_000_000, [7]), 0, (0,))
    drawn = np.concatenate([made.rows(0, place, place + 5000) for place in (0, 20_000_000, 39_990_000)])
    assert len(np.unique(drawn)) == 15_000 and 7 not in drawn and drawn.max() < 40_000_000
    # Even: a third of what was drawn lies in each third of the rows.
    assert np.abs(np.bincount(drawn // 13_333_334) - 5000).max() < 300


def test_the_listed_order_is_the_one_that_runs_have_always_had():
    """Runs of before go on as they began."""
    random = np.random.Generator(np.random.PCG64([5, 0, 2]))
    assert np.array_equal(Order(Rows(50, [3]), 5, (0,)).rows(2, 0, 50), random.permutation(np.delete(np.arange(50), 3)))
