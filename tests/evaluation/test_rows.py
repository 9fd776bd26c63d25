"""Rows are what any reader of Arrow sees, numbers are made of them, and what is damaged says so."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import StoreError
from distillkit.evals import Answers, Measure
from distillkit.evaluation.numbers import numbers
from distillkit.evaluation.rows import Rows, is_rows, read_rows, write_rows

MEASURES = (
    Measure("R@1", "rank", within=1, chance=0.25),
    Measure("per class", "rank", within=1, once=True, chance=0.25),
    Measure("median rank", "rank", how="median", more=False),
    Measure("margin", "margin"),
    Measure("worst", "margin", how="least"),
)


def answers(ranks):
    ranks = np.array(ranks)
    return Answers(
        key=["a", "b", "c", "d"],
        columns={"rank": ranks, "margin": (2.0 - ranks).astype(np.float32)},
        measures=MEASURES,
        target=np.array([0, 0, 0, 2]),
        group=np.array([5, 5, 5, 7]),
        best=np.stack([ranks % 3, (ranks + 1) % 3], 1).astype(np.int32),
        names=["ship", "crane", "é | <b>"],
        facts={"images": 4.0},
    )


@pytest.fixture
def rows():
    both = {"teacher": answers([1, 1, 1, 1]), "student": answers([1, 2, 1, 3])}
    return Rows("an eval", {"eval": {"kind": "x"}, "stores": {"s": "1"}}, {"teacher": "t", "student": "s"}, both)


def test_numbers_are_made_of_rows(rows):
    found = numbers([rows.answers["student"]])
    assert (found["R@1"], found["per class"], found["median rank"]) == (0.5, pytest.approx(1 / 3), 1.5)
    assert (found["margin"], found["worst"], found["images"]) == (0.25, -1.0, 4.0)
    assert 0 <= found["R@1.low"] <= 0.5 <= found["R@1.high"] <= 1 and found["R@1.chance"] == 0.25
    assert "worst.low" not in found and "margin.chance" not in found
    assert numbers({"plain": 2.0}) == {"plain": 2.0}


def test_of_one_item_there_is_a_number_and_no_interval():
    one = Answers(key=["a"], columns={"rank": np.array([1])}, measures=MEASURES[:1])
    assert numbers([one]) == {"R@1": 1.0, "R@1.chance": 0.25}


def test_what_is_written_is_read_again_and_by_anybody(rows, tmp_path):
    path = tmp_path / "an-eval.arrow"
    write_rows(path, rows)
    again = read_rows(path)
    assert (again.name, again.made_of, again.networks) == (rows.name, rows.made_of, rows.networks)
    for who, one in rows.answers.items():
        other = again.answers[who]
        assert (list(other.key), list(other.names), other.measures) == (list(one.key), list(one.names), one.measures)
        assert other.facts == one.facts
        for name in ("target", "group", "best"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
        for name, column in one.columns.items():
            np.testing.assert_array_equal(other.columns[name], column)
    table = pa.ipc.open_file(path).read_all()
    assert table["student.rank"].to_pylist() == [1, 2, 1, 3] and table["key"].to_pylist() == ["a", "b", "c", "d"]
    assert pa.ipc.open_file(tmp_path / "an-eval.names.arrow").read_all()["name"][2].as_py() == "é | <b>"
    assert [is_rows(file) for file in sorted(tmp_path.iterdir())] == [True, False]


def test_networks_that_answered_other_items_are_no_table(rows, tmp_path):
    other = rows.answers | {"student": replace(rows.answers["student"], key=["a", "b", "c", "x"])}
    with pytest.raises(StoreError, match="an eval: student was asked about other items"):
        write_rows(tmp_path / "x.arrow", replace(rows, answers=other))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "no names", "other names", "no arrow of ours"])
def test_what_is_damaged_is_one_line(rows, tmp_path, damage):
    path = tmp_path / "e.arrow"
    write_rows(path, rows)
    names = tmp_path / "e.names.arrow"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "no names":
        names.unlink()
    elif damage == "other names":
        write_rows(tmp_path / "f.arrow", replace(rows, answers={"student": replace(answers([1] * 4), names=["a"] * 3)}))
        (tmp_path / "f.names.arrow").rename(names)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([("x", pa.int8())])):
            pass
    with pytest.raises(StoreError, match=r"e.arrow: damaged \(.*\); delete it, and distillkit evaluate makes it again"):
        read_rows(path)
