"""Two processes that make a view at one place at one moment."""

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select, writing_view
from distillkit.store.writing.fill import fill
from tests.at_once import Pair
from tests.faults.store_jobs import rows_of, writer

ROUNDS = 24
CHOSEN = (np.arange(5), np.arange(3, 60))


def make(which, number, root):
    """Other views, but every third time the same; every second time over each other."""
    rows = CHOSEN[0 if number % 3 == 0 else which]
    select(root / "s", rows, root / f"v{number}", f"distillkit {which}", overwrite=number % 2 == 1)
    return "ok"


@pytest.fixture
def root(tmp_path):
    fill(writer(tmp_path / "s"), rows_of(), {})
    return tmp_path


def test_a_view_is_one_of_both_and_whole_and_the_second_sees_the_first(root):
    pair = Pair(make, ROUNDS, root)
    try:
        for number in range(ROUNDS):
            said = pair.round()
            rows = FeatureStore(root / f"v{number}").selection.rows.tolist()
            if number % 3 == 0:
                assert said == ["ok", "ok"] and rows == CHOSEN[0].tolist()
                continue
            assert rows in [one.tolist() for one in CHOSEN]
            if number % 2:
                assert said == ["ok", "ok"]
            else:
                refused = 1 - said.index("ok")
                assert said[refused].startswith(f"StoreError: {root}/v{number}: is a view of ")
                assert said[refused].endswith("name another place, or add --overwrite") and "\n" not in said[refused]
                assert rows == CHOSEN[1 - refused].tolist()
    finally:
        pair.close()
    assert not [*root.rglob("*.partial"), *root.glob(".v*")]


def test_who_looks_at_a_place_sees_what_was_written_there_before_it_writes(root):
    """The lock is held from the look to the last byte."""
    with writing_view(root / "v"):
        assert (root / ".v.view.lock").is_file()
    select(root / "s", CHOSEN[0], root / "v")
    with pytest.raises(StoreError, match="is a view of 5 other rows"):
        select(root / "s", CHOSEN[1], root / "v", overwrite=False)
