"""Kind F: rows that are gone, or others, are told by their keys and by what they say, however many there are."""

import pyarrow as pa
import pytest

from distillkit.engine import other_rows
from distillkit.store.format.plan import SCHEMA

ROWS = [("a", "a.png", "one", 0), ("b", "b.png", None, None), ("c", "c.png", "three", 2), ("d", None, "four", 3)]


def table(rows):
    return pa.table(
        [pa.array(column, kind.type) for column, kind in zip(zip(*rows, strict=True), SCHEMA, strict=True)], SCHEMA
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(other_rows, "_BLOCK", 2)
    with pa.ipc.new_file(tmp_path / "plan.arrow", SCHEMA) as file:
        file.write_table(table(ROWS))
    return tmp_path


def test_rows_in_another_order_with_new_ones_among_them_are_the_same(store):
    plan = table([ROWS[3], ("e", "e.png", "five", 4), *ROWS[:3]])
    assert other_rows.lost_rows(store, plan) is None and other_rows.other_rows(store, plan) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("b", "b.png", "two", None), "'b', whose text was None and is 'two'"),
        (("c", "c.png", "three", None), "'c', whose label was 2 and is None"),
        (("d", "d.png", "four", 3), "'d', whose image was None and is 'd.png'"),
    ],
)
def test_what_is_said_otherwise_is_told(store, row, told):
    plan = table([row if row[0] == one[0] else one for one in ROWS])
    assert other_rows.other_rows(store, plan) == f"1 of its 4 rows changed in the corpus, as {told}"


def test_all_that_differ_are_counted_and_the_cure_is_that_of_the_fault(store):
    plan = table([(key, image, "x", label) for key, image, _, label in ROWS])
    told = other_rows.changed_rows(store, plan)
    assert told.startswith("4 of its 4 rows changed") and told.endswith("extract-teacher RECIPE --overwrite")
    told = other_rows.changed_rows(store, plan.slice(2))
    assert told.startswith("2 of its 4 rows gone from the corpus, the first is 'a'; ")
    assert told.endswith("extract-teacher RECIPE --allow-smaller")
    assert other_rows.other_rows(store, plan.slice(2)) is None
    (store / "plan.arrow").write_bytes(b"x")
    assert other_rows.lost_rows(store, plan) is None and "plan.arrow is damaged" in other_rows.changed_rows(store, plan)
