import sys

import pytest

from distillkit.errors import MissingExtra, SourceError
from distillkit.sources.datasets import Datasets
from tests.sources.test_webdataset import picture


def save(folder, columns, split=None):
    datasets = pytest.importorskip("datasets")
    features = {name: datasets.Image() for name in ("image",) if name in columns}
    saved = datasets.Dataset.from_dict(columns)
    for name, feature in features.items():
        saved = saved.cast_column(name, feature)
    (datasets.DatasetDict({split: saved}) if split else saved).save_to_disk(str(folder))
    return folder


def images(*colours):
    return [{"bytes": picture(colour), "path": None} for colour in colours]


def example(folder):
    save(folder / "saved", {"image": images("red", "blue"), "caption": ["a cat", "文"], "label": [3, 0]})
    return {"root": str(folder / "saved"), "text_column": "caption", "label_column": "label"}


def test_the_bytes_are_those_that_were_put_in(tmp_path):
    source = Datasets(**example(tmp_path))
    assert [(one.key, one.text, one.label) for one in source] == [("0", "a cat", 3), ("1", "文", 0)]
    assert [source.read(one.image) for one in source] == [picture("red"), picture("blue")]


def test_splits_keys_and_lists_of_captions(tmp_path):
    save(tmp_path / "saved", {"captions": [["one", "two"], []], "id": ["a", "b"]}, split="test")
    knobs = {"root": str(tmp_path / "saved"), "text_column": "captions", "key_column": "id", "image_column": None}
    told = {one.key: one.text for one in Datasets(**knobs, split="test", captions="all")}
    assert told == {"a/0": "one", "a/1": "two", "b": None}
    with pytest.raises(SourceError, match=r"no split 'train'; set source\.split to one of: test"):
        list(Datasets(**knobs))


def test_what_cannot_be_an_image_is_told(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture())
    rows = [None, {"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": None, "path": "../secret.png"}]
    datasets = pytest.importorskip("datasets")
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": plain})
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk(str(tmp_path / "saved"))
    source = Datasets(root=str(tmp_path / "saved"))
    for row, told in (
        ("0", "has no image"),
        ("1", "leaves"),
        ("2", "leaves"),
        ("3", "has no row"),
        ("-1", "has no row"),
    ):
        with pytest.raises(SourceError, match=told):
            source.read(row)


def test_missing_places_and_columns_are_named(tmp_path):
    knobs = example(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        Datasets(root=str(tmp_path / "absent"))
    with pytest.raises(SourceError, match="set either"):
        Datasets()
    with pytest.raises(SourceError, match="no column 'jpg'"):
        Datasets(**knobs, image_column="jpg").read("0")
    with pytest.raises(SourceError, match=r"no column 'words'; set source\.text_column to one of: caption$"):
        list(Datasets(**knobs | {"text_column": "words"}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"cannot be opened \(.*\); mend source\.root"):
        list(Datasets(root=str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("image_column", [1, 2]),
        ("image_column", [[b"one"], [b"two"]]),
        ("text_column", [1, 2]),
        ("text_column", [[1], [2]]),
        ("label_column", [[1], [2]]),
        ("key_column", [0.5, 1.5]),
    ],
)
def test_kind_d_a_column_of_something_else_is_refused_by_its_knob(tmp_path, knob, values):
    save(tmp_path / "saved", {"image": images("red", "blue"), "odd": values})
    with pytest.raises(SourceError, match=rf"column 'odd' is of type .*; it cannot be source\.{knob}; "):
        list(Datasets(**{"root": str(tmp_path / "saved"), knob: "odd"}))


def test_kind_g_a_row_without_a_key_is_called_by_its_number(tmp_path):
    save(tmp_path / "saved", {"image": images("red", "blue", "green"), "id": ["1", None, ""]})
    source = Datasets(root=str(tmp_path / "saved"), key_column="id")
    assert [(one.key, one.image) for one in source] == [("1", "0"), ("#1", "1"), ("#2", "2")]
    assert "left out: 2 keys" in source.account.line(3)
    with pytest.raises(SourceError, match=r"row 0 has no key in 'none'; set source\.key_column"):
        save(tmp_path / "other", {"image": images("red"), "none": [None]})
        list(Datasets(root=str(tmp_path / "other"), key_column="none"))


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r'pip install "distillkit\[datasets\]"'):
        list(Datasets(root=str(tmp_path)))


def test_keys_that_several_rows_have_are_numbered_through(tmp_path):
    """As of every other table: no caption of an image is lost for its key."""
    pictures = images("red", "blue", "red", "green")
    save(tmp_path / "saved", {"image": pictures, "text": ["one", "two", "three", ""], "id": ["a", "b", "a", "c"]})
    knobs = {"root": str(tmp_path / "saved"), "text_column": "text", "key_column": "id"}
    found = [(one.key, one.image, one.text) for one in Datasets(**knobs, captions="all")]
    assert found == [("a/0", "0", "one"), ("b/0", "1", "two"), ("a/1", "2", "three"), ("c", "3", None)]
