"""The plan: every row, in order, before the first forward."""

from pathlib import Path

import pytest

from distillkit.errors import SourceError
from distillkit.store import plan
from distillkit.store.plan import make_plan, plan_digest
from distillkit.types import Sample

ROOT = Path("/corpus")


def samples(count):
    return [
        Sample(f"k{n}", image=ROOT / f"a/{n}.png", text=f"text {n}" if n % 2 else None, label=n) for n in range(count)
    ]


def test_rows_are_the_samples_in_their_order():
    table, duplicates = make_plan(samples(5), ROOT)
    assert duplicates == 0 and table.schema == plan.SCHEMA
    assert table.to_pylist()[3] == {"key": "k3", "image": "a/3.png", "text": "text 3", "label": 3}
    assert table["text"].to_pylist()[2] is None


def test_the_first_of_equal_keys_is_kept_and_the_others_counted():
    table, duplicates = make_plan(
        [Sample("a", text="1"), Sample("b", text="2"), Sample("a", text="3"), Sample("a")], None
    )
    assert table["text"].to_pylist() == ["1", "2"] and duplicates == 2


def test_long_plans_are_made_in_blocks(monkeypatch):
    whole = make_plan(samples(10), ROOT)[0]
    monkeypatch.setattr(plan, "_BLOCK", 3)
    blocks = make_plan(samples(10), ROOT)[0]
    assert blocks == whole and plan_digest(blocks) == plan_digest(whole)
    assert make_plan(samples(9), ROOT)[0].num_rows == 9


def test_every_value_and_the_order_change_the_digest():
    def of(*rows):
        return plan_digest(make_plan([Sample(*row) for row in rows], ROOT)[0])

    digests = [
        of(("a", None, "x", 1), ("b", None, "y", 2)),
        of(("b", None, "y", 2), ("a", None, "x", 1)),
        of(("a", None, "x", 1)),
        of(("a", None, "x", 1), ("b", None, "y", 3)),
        of(("a", None, "x", 1), ("b", None, None, 2)),
        of(("a", None, "x", 1), ("b", None, "None", 2)),
        of(("a", ROOT / "i.png", "x", 1), ("b", None, "y", 2)),
        of(("c", None, "x", 1), ("b", None, "y", 2)),
    ]
    assert len(set(digests)) == len(digests)
    assert of(("a", None, "x", 1), ("b", None, "y", 2)) == digests[0]


def test_images_elsewhere_are_the_sources_fault():
    for sample, root in (
        (Sample("k", image=b"raw"), ROOT),
        (Sample("k", image=Path("/x/y.png")), ROOT),
        (Sample("k", image=ROOT), None),
    ):
        with pytest.raises(SourceError, match="k: a source must name its images by paths below its root"):
            make_plan([sample], root)


def test_a_file_name_that_is_not_utf_8_is_no_crash():
    table, _ = make_plan([Sample(r"caf\xe9.png", image=ROOT / "caf\udce9.png")], ROOT)
    assert table.to_pylist() == [{"key": r"caf\xe9.png", "image": None, "text": None, "label": None}]


def test_nothing_makes_no_plan():
    with pytest.raises(SourceError, match="/corpus is empty: nothing to extract"):
        make_plan([], ROOT)
