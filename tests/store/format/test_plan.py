"""The plan: every row, in order, before the first forward."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import SourceError
from distillkit.store.format import plan
from distillkit.store.format.plan import make_plan, plan_digest
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


def test_duplicates_are_found_across_blocks_and_whatever_their_hashes(monkeypatch):
    monkeypatch.setattr(plan, "_BLOCK", 4)
    keys = [f"k{n % 7}" for n in range(10)] + [f"u{n}" for n in range(9)] + ["k0", "u8", "new"]
    want = list(dict.fromkeys(keys))
    for hashed in (hash, lambda key: len(key), lambda key: 0):
        monkeypatch.setattr(plan, "hash", hashed, raising=False)
        table, duplicates = make_plan([Sample(key, text=str(n)) for n, key in enumerate(keys)], None)
        assert table["key"].to_pylist() == want and duplicates == len(keys) - len(want)
        assert table["text"].to_pylist() == [str(keys.index(key)) for key in want]


def test_the_digest_is_the_one_that_the_format_says():
    table, _ = make_plan([*samples(5), Sample("é—文", text="", label=None), Sample("none", ROOT / "x.png")], ROOT)
    hasher = hashlib.sha256()
    for column in (table[name].to_pylist() for name in ("key", "image", "text")):
        hasher.update(np.array([-1 if text is None else len(text.encode()) for text in column], "<i4"))
        hasher.update("".join(text or "" for text in column).encode())
    labels = table["label"].to_pylist()
    hasher.update(np.array([label or 0 for label in labels], "<i8"))
    hasher.update(np.array([label is not None for label in labels], "u1"))
    assert plan_digest(table) == hasher.hexdigest()
    for cut in (table.slice(0, 3), table.slice(3)):
        assert plan_digest(cut) == plan_digest(pa.table(cut.to_pydict(), plan.SCHEMA))


def test_stores_of_version_1_have_another_digest():
    table = make_plan([Sample("a", text="x", label=1)], None)[0]
    assert plan_digest(table, 1) == hashlib.sha256(b"('a', None, 'x', 1)").hexdigest() != plan_digest(table)


def test_a_plan_is_no_private_memory_and_leaves_no_file(tmp_path):
    """Arrow holds none of the plan's 50 MB, and no file of it has a name."""
    before = pa.total_allocated_bytes()
    table, _ = make_plan((Sample(str(n), text="long " * 100) for n in range(100_000)), None, tmp_path)
    assert table.nbytes > 50_000_000 and pa.total_allocated_bytes() - before < 1_000_000
    assert list(tmp_path.iterdir()) == []


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
    with pytest.raises(SourceError, match="/corpus: no sample of it can be taken"):
        make_plan([], ROOT)


@pytest.mark.parametrize(
    ("label", "number"),
    [
        *((3, 3), (-1, -1), (2**31, 2**31), (2**63 - 1, 2**63 - 1), (1.0, 1), (-1.0, -1), (np.int32(7), 7)),
        *((np.float32(2), 2), ("7", 7), (" 7\n", 7), ("1.0", 1), ("-1", -1), ("007", 7)),
        *((None, None), (float("nan"), None), ("", None), ("NaN", None), (np.float64("nan"), None)),
    ],
)
def test_kind_a_labels_as_tables_write_them(label, number):
    assert make_plan([Sample("a", label=label)], None)[0]["label"].to_pylist() == [number]


@pytest.mark.parametrize(
    "label",
    [1.5, True, np.True_, float("inf"), "inf", 2**63, "9" * 30, "9" * 5000, 1e300, "cat", "1e3", "1_0", "²", [1]],
)
def test_kind_a_what_is_no_class_number_is_refused_with_its_count_and_the_knob(label):
    rows = [Sample("a", label=0), Sample("b", label=label), Sample("c"), Sample("d", label=label)]
    with pytest.raises(SourceError) as caught:
        make_plan(rows, ROOT)
    told = str(caught.value)
    assert told.startswith("/corpus: 2 of 3 labels are no class numbers, as that of b (") and "\n" not in told
    assert told.endswith("; mend them")  # a source names its own knob, too
