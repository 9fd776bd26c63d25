"""In tables of paths, too, the class of an image can be the folder that it lies in."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distillkit.engine.planning import planned
from distillkit.errors import SourceError
from distillkit.recipe import Corpus
from distillkit.sources.csv import Csv

ROWS = [("dog/1.png", "a dog"), ("cat/1.png", "a cat"), ("dog/2.png", "another dog"), ("0.png", "of no class")]


@pytest.fixture
def table(tmp_path):
    """By kind, the source of a table of these rows, whose images lie in class folders."""

    def made(kind, rows=ROWS, **knobs):
        for name, _ in rows:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (40, 40)).save(tmp_path / name)
        file = tmp_path / f"table.{kind}"
        if kind == "csv":
            file.write_text("".join(f"{name}\t{text}\n" for name, text in [("image", "text"), *rows]))
            knobs |= {"image_column": "image", "text_column": "text"}
        elif kind == "jsonl":
            file.write_text("".join(json.dumps({"image": name, "text": text}) + "\n" for name, text in rows))
            knobs |= {"image_field": "image"}
        else:
            names, texts = zip(*rows, strict=True)
            pq.write_table(pa.table({"image": list(names), "text": list(texts)}), file)
            knobs |= {"text_column": "text"}
        return {"kind": kind, "file": str(file), "classes": True} | knobs

    return made


def planned_of(source, tmp_path, **knobs):
    return planned(Corpus(name="x", source=source, fields=["image"], **knobs), tmp_path / "out/x", lambda line: None)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("captions", ["whole", "all"])
def test_classes_are_numbered_by_name_whatever_the_order_of_the_rows(table, kind, captions, tmp_path):
    found = planned_of(table(kind, captions=captions), tmp_path)
    assert found.classes == {"cat": 0, "dog": 1}
    assert found.rows["label"].to_pylist() == [1, 0, 1, None]


def test_a_class_that_comes_later_moves_none(table, tmp_path):
    # What an append asks first: the plan of a store that is there, with one class more in front.
    store = tmp_path / "out/x"
    first = planned_of(table("csv"), tmp_path)
    store.mkdir(parents=True)
    begun = {"source": {"kind": "csv", "root": str(tmp_path)}, "fields": {}, "teachers": {}}
    (store / "plan.json").write_text(json.dumps(begun))
    (store / "classes.json").write_text(json.dumps(first.classes))
    again = planned_of(table("csv", [("aardvark/1.png", "new"), *ROWS]), tmp_path)
    assert again.classes == {"cat": 0, "dog": 1, "aardvark": 2}
    assert again.rows["label"].to_pylist() == [2, 1, 0, 1, None]


def test_where_no_image_lies_in_a_folder_nobody_has_a_class(table, tmp_path):
    source = table("csv", [("0.png", "a"), ("1.png", "b")])
    with pytest.raises(
        SourceError, match=r"'x': no image lies in a folder below .* set source\.root to .*source\.classes"
    ):
        planned_of(source, tmp_path)
    flat = {"kind": "folder", "root": str(tmp_path), "classes": True}
    with pytest.raises(SourceError, match="no image lies in a folder below"):
        planned_of(flat, tmp_path)


def test_what_cannot_be_read_has_no_class(table, tmp_path):
    source = table("csv")
    with (tmp_path / "table.csv").open("a") as file:
        file.write("../../cow/1.png\tof nowhere\n")
    found = planned_of(source, tmp_path)
    assert found.classes == {"cat": 0, "dog": 1} and found.rows["label"].to_pylist()[-1] is None


def test_two_ways_at_once_and_images_without_paths_are_refused(table, tmp_path):
    with pytest.raises(SourceError, match=r"source\.label_column = 'class' a column; leave out one of them"):
        Csv(file=str(tmp_path / "table.csv"), label_column="class", classes=True)
    (tmp_path / "bytes").mkdir()
    pq.write_table(pa.table({"image": [b"1", b"2"]}), tmp_path / "bytes/a.parquet")
    source = {"kind": "parquet", "root": str(tmp_path / "bytes"), "classes": True}
    with pytest.raises(SourceError, match="takes classes from paths, and column 'image' holds none"):
        planned_of(source, tmp_path)
