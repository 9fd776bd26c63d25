"""Kind B in tables: rows that share an image keep all captions, or the knob that keeps them is named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.sources.csv import Csv
from distillkit.sources.jsonl import Jsonl
from distillkit.sources.parquet import Parquet
from distillkit.store.format.plan import make_plan

ROWS = [("a.png", "one"), ("b.png", "two"), ("a.png", "three"), ("c.png", ""), ("a.png", "four"), ("a.png", "one")]


def table(folder, kind, rows=ROWS, **knobs):
    for name in {name for name, _ in rows}:
        (folder / name).touch()
    if kind == "csv":
        lines = ["filepath\ttitle", *(f"{name}\t{text}" for name, text in rows)]
        (folder / "table").write_text("\n".join(lines) + "\n")
        return Csv(file=str(folder / "table"), **knobs)
    if kind == "parquet":
        names, texts = zip(*rows, strict=True)
        pq.write_table(pa.table({"image": names, "text": texts}), folder / "table")
        return Parquet(file=str(folder / "table"), root=str(folder), text_column="text", **knobs)
    lines = [json.dumps({"image": name, "text": text}) for name, text in rows]
    (folder / "table").write_text("\n".join(lines) + "\n")
    return Jsonl(file=str(folder / "table"), image_field="image", **knobs)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_kind_b_with_all_captions_rows_of_an_image_are_numbered_through(tmp_path, kind):
    source = table(tmp_path, kind, captions="all")
    plan, duplicates = make_plan(source, source.root)
    found = [(row["key"], row["image"], row["text"]) for row in plan.to_pylist()]
    assert duplicates == 0 and found == [
        ("a.png/0", "a.png", "one"),
        ("b.png/0", "b.png", "two"),
        ("a.png/1", "a.png", "three"),
        ("c.png", "c.png", None),
        ("a.png/2", "a.png", "four"),
        ("a.png/3", "a.png", "one"),
    ]


def test_kind_b_rows_of_several_captions_each_are_numbered_through(tmp_path):
    source = table(tmp_path, "jsonl", [("a.png", ["1", "2"]), ("b.png", ["3"]), ("a.png", ["4", "5"])], captions="all")
    assert [one.key for one in source] == ["a.png/0", "a.png/1", "b.png/0", "a.png/2", "a.png/3"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_kind_b_captions_that_are_left_out_are_counted_and_the_knob_is_named(tmp_path, kind):
    source = table(tmp_path, kind)
    plan, duplicates = make_plan(source, source.root, lose=lambda *loss: source.account.lose(*loss))
    assert plan["key"].to_pylist() == ["a.png", "b.png", "c.png"] and duplicates == 3
    assert source.account.line(plan.num_rows) == (
        "3 samples taken; "
        'left out: 2 more captions of images that came before (source.captions = "all" keeps each as a row)'
    )
    assert [loss["key"] for loss in source.account.losses] == ["a.png", "a.png"]


@pytest.mark.parametrize("captions", ["whole", "all", 0, 1])
def test_kind_b_one_table_gives_the_same_rows_from_every_kind_of_file(tmp_path, captions):
    plans = []
    for kind in ("csv", "jsonl", "parquet"):
        source = table(tmp_path, kind, captions=captions)
        plan, duplicates = make_plan(source, source.root)
        plans.append((plan.to_pylist(), duplicates))
    assert plans[0] == plans[1] == plans[2] and len(plans[0][0]) == (6 if captions == "all" else 3)


@pytest.mark.parametrize("knobs", [{"key_column": "id"}, {}])
def test_keys_that_a_folder_of_tables_repeats_are_numbered_through_and_places_are_as_ever(tmp_path, knobs):
    for name, text in (("a", "one"), ("b", "two")):
        rows = {"id": ["x", name], "image": ["a.png", "a.png"], "text": [text, "own"]}
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    found = [one.key for one in Parquet(root=str(tmp_path), text_column="text", captions="all", **knobs)]
    if knobs:
        assert found == ["x/0", "a/0", "x/1", "b/0"]
    else:
        assert found == [f"{name}.parquet#{row}/0" for name in "ab" for row in (0, 1)]


def test_equal_texts_without_images_stay_one(tmp_path):
    (tmp_path / "texts").write_text('{"text": "a"}\n{"text": "a"}\n{"text": "b"}\n')
    source = Jsonl(file=str(tmp_path / "texts"), captions="all")
    assert make_plan(source, None)[1] == 1
