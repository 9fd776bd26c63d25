"""Kind B in tables: rows that share an image keep all captions, or the knob that keeps them is named."""

import json

import pytest

from distillkit.sources.csv import Csv
from distillkit.sources.jsonl import Jsonl
from distillkit.store.format.plan import make_plan

ROWS = [("a.png", "one"), ("b.png", "two"), ("a.png", "three"), ("c.png", ""), ("a.png", "four"), ("a.png", "one")]


def table(folder, kind, rows=ROWS, **knobs):
    for name in {name for name, _ in rows}:
        (folder / name).touch()
    if kind == "csv":
        lines = ["filepath\ttitle", *(f"{name}\t{text}" for name, text in rows)]
        (folder / "table").write_text("\n".join(lines) + "\n")
        return Csv(file=str(folder / "table"), **knobs)
    lines = [json.dumps({"image": name, "text": text}) for name, text in rows]
    (folder / "table").write_text("\n".join(lines) + "\n")
    return Jsonl(file=str(folder / "table"), image_field="image", **knobs)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
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


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_kind_b_captions_that_are_left_out_are_counted_and_the_knob_is_named(tmp_path, kind):
    source = table(tmp_path, kind)
    plan, duplicates = make_plan(source, source.root, lose=lambda *loss: source.account.lose(*loss))
    assert plan["key"].to_pylist() == ["a.png", "b.png", "c.png"] and duplicates == 3
    assert source.account.line(plan.num_rows) == (
        'taken 3; left out: 2 more captions of images that came before (source.captions = "all" keeps each as a row)'
    )
    assert [loss["key"] for loss in source.account.losses] == ["a.png", "a.png"]


def test_equal_texts_without_images_stay_one(tmp_path):
    (tmp_path / "texts").write_text('{"text": "a"}\n{"text": "a"}\n{"text": "b"}\n')
    source = Jsonl(file=str(tmp_path / "texts"), captions="all")
    assert make_plan(source, None)[1] == 1
