"""The split of OOD distillation: disjoint classes, a part of the images kept, the same again, and released lists."""

import json
import re

import pytest

from distillkit.corpora.split import split
from distillkit.errors import SourceError
from distillkit.recipe import Component
from tests.corpora.layouts import file, picture

CLASSES = [f"{letter}_bird" for letter in "abcdef"]


@pytest.fixture
def root(tmp_path):
    for one in CLASSES:
        for number in range(10):
            file(tmp_path / f"birds/{one}/{number}.jpg", picture(number))
    return tmp_path / "birds"


def samples(root, side):
    source = Component(kind="csv", file=str(root / f"{side}.tsv"), label_column="label").build("sources")
    return [(one.key, one.text, int(one.label)) for one in source]


def test_parts_classes_and_images_and_records_how(root, run_cli):
    code, out, err = run_cli("data", "split", root, "--seed", 3)
    assert code == 0 and [line.rpartition("/")[2] for line in out.splitlines()] == [
        "train.tsv", "val_on_train.tsv", "val.tsv",
    ], err  # fmt: skip
    train, kept, unseen = (samples(root, side) for side in ("train", "val_on_train", "val"))
    assert (len(train), len(kept), len(unseen)) == (21, 9, 30)
    of = [{key.partition("/")[0] for key, _, _ in side} for side in (train, kept, unseen)]
    assert of[0] == of[1] and not of[0] & of[2] and of[0] | of[2] == set(CLASSES)
    assert not {key for key, _, _ in train} & {key for key, _, _ in kept}
    for side, names in ((train, "train"), (kept, "train"), (unseen, "val")):
        listed = (root / f"{names}_names.txt").read_text().splitlines()
        assert all(
            text == listed[label] and text == key.partition("/")[0].replace("_", " ") for key, text, label in side
        )
    record = json.loads((root / "split.json").read_text())
    assert record["asked"] == {"seed": 3, "classes": 0.5, "train": 0.7}
    assert record["images"] == {"train": 21, "val_on_train": 9, "val": 30}

    before = {path: path.read_bytes() for path in root.glob("*.*")}
    run_cli("data", "split", root, "--seed", 3)
    assert before == {path: path.read_bytes() for path in root.glob("*.*")}
    run_cli("data", "split", root, "--seed", 4, "--overwrite")
    assert samples(root, "train") != train


@pytest.mark.parametrize("knobs", [["--seed", 4], ["--train", 0.5], ["--classes", 0.3], "an image more"])
def test_another_split_replaces_none_unasked(root, run_cli, knobs):
    """Stores were made of its lists, and its val_on_train was never learned from."""
    run_cli("data", "split", root, "--seed", 3)
    before = {path: path.read_bytes() for path in root.glob("*.*")}
    if knobs == "an image more":
        for one in CLASSES:
            file(root / one / "more.jpg", picture())
        knobs = ["--seed", 3]
    code, _, err = run_cli("data", "split", root, *knobs)
    assert code == 1 and err.count("\n") == 1
    assert re.search(r"(train|val|_names)\.t(sv|xt): another split is here, .* add --overwrite to replace it", err)
    assert before == {path: path.read_bytes() for path in root.glob("*.*")}
    assert run_cli("data", "split", root, *knobs, "--overwrite")[0] == 0
    assert before != {path: path.read_bytes() for path in root.glob("*.*")}
    (root / "split.json").unlink()  # stopped before it was written: the lists are the same
    assert run_cli("data", "split", root, *knobs)[0] == 0


TWICE = {
    "learned from and kept": ("val_on_train", "a_bird/1.jpg", r"val_on_train_data\.txt:3: .* in train_data\.txt:1;"),
    "twice to learn from": ("train", "x/a_bird/1.jpg", r"train_data\.txt:3: .* in train_data\.txt:1;"),
    "twice kept": ("val_on_train", "b_bird/4.jpg", r"val_on_train_data\.txt:3: .* in val_on_train_data\.txt:2;"),
    "twice unseen": ("val", "f_bird/0.jpg", r"val_data\.txt:2: .* in val_data\.txt:1;"),
    "two of one name": ("train", "a_bird/7.jpg", r"'a_bird/7\.jpg' and 'a_bird/deep/7\.jpg' are both 'a_bird/7\.jpg'"),
}


@pytest.mark.parametrize("kind", TWICE)
def test_an_image_is_listed_once(root, tmp_path, run_cli, kind):
    lists = {
        "train": ["a_bird/1.jpg", "b_bird/2.jpg"],
        "val_on_train": ["a_bird/3.jpg", "b_bird/4.jpg"],
        "val": ["f_bird/0.jpg"],
    }
    file(root / "a_bird/deep/7.jpg", picture())
    side, line, told = TWICE[kind]
    lists[side].append(line)
    for one, lines in lists.items():
        (tmp_path / f"{one}_data.txt").write_text("".join(f"{line}\n" for line in lines))
    code, _, err = run_cli("data", "split", root, "--lists", tmp_path)
    assert code == 1 and err.count("\n") == 1 and re.search(told, err), err
    assert not list(root.glob("*.tsv"))


def test_the_released_lists_are_read(root, tmp_path, run_cli):
    lists = {
        "train": ["a_bird/1.jpg", "b_bird/2.jpg"],
        "val_on_train": ["a_bird/3.jpg", "b_bird/4.jpg"],
        "val": ["f_bird/0.jpg"],
    }
    for side, lines in lists.items():
        (tmp_path / f"{side}_data.txt").write_text("".join(f"val/{line}\n" for line in lines))
    assert run_cli("data", "split", root, "--lists", tmp_path)[0] == 0
    assert [key for key, _, _ in samples(root, "train")] == lists["train"]
    assert samples(root, "val") == [("f_bird/0.jpg", "f bird", 0)]
    (tmp_path / "val_data.txt").write_text("val/a_bird/0.jpg\n")
    code, _, err = run_cli("data", "split", root, "--lists", tmp_path)
    assert code == 1 and "class 'a_bird' is listed both as trained on and as unseen" in err
    (tmp_path / "val_data.txt").write_text("val/f_bird/77.jpg\n")
    code, _, err = run_cli("data", "split", root, "--lists", tmp_path)
    assert code == 1 and "has no image 'f_bird/77.jpg'" in err
    (tmp_path / "val_data.txt").write_bytes("val/caf\u00e9/0.jpg\n".encode("latin-1"))
    code, _, err = run_cli("data", "split", root, "--lists", tmp_path)
    assert code == 1 and "val_data.txt: not UTF-8" in err and err.count("\n") == 1


def test_kinds_b_and_h_a_class_in_two_unicode_forms_is_one_and_lines_end_at_line_feeds(root, tmp_path, run_cli):
    composed, parted = "caf\u00e9", "cafe\u0301"
    file(root / composed / "1.jpg", picture())
    file(root / parted / "2.jpg", picture())
    file(root / "a_bird/x\u2028y.jpg", picture())
    lists = {
        "train": [f"{parted}/1.jpg", "a_bird/x\u2028y.jpg"],
        "val_on_train": [f"{composed}/2.jpg", "a_bird/3.jpg"],
        "val": ["f_bird/0.jpg"],
    }
    for side, lines in lists.items():
        (tmp_path / f"{side}_data.txt").write_text("\ufeff" + "".join(f"{line}\n" for line in lines), "utf-8")
    code, _, err = run_cli("data", "split", root, "--lists", tmp_path)
    assert code == 0, err
    assert sorted(label for _, _, label in samples(root, "train")) == [0, 1]
    assert {label for key, _, label in samples(root, "val_on_train") if key.endswith("2.jpg")} == {1}
    file(root / "a_bird/tab\there.jpg", picture())
    code, _, err = run_cli("data", "split", root)
    assert code == 1 and "has a tab or a line end in its name, and lists cannot; rename it" in err


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        (["--classes", "1.5"], "must be between 0 and 1"),
        (["--train", "0.01"], "10 images cannot be divided at train = 0.01"),
        (["--classes", "0.01"], "would have no image"),
    ],
)
def test_what_cannot_be_parted_is_one_line_and_writes_nothing(root, run_cli, knobs, told):
    code, _, err = run_cli("data", "split", root, *knobs)
    assert code == 1 and told in err and not list(root.glob("*.tsv"))


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("a bird", "the folders 'a bird' and 'a_bird' are both of a class called 'a bird'; put their images into one"),
        ("__", "the folder '__' names no class; give it a name with letters"),
    ],
)
def test_a_class_has_a_name_of_its_own(root, run_cli, folder, told):
    """Else one name would be trained on and unseen, or a line of the names empty."""
    for number in range(10):
        file(root / f"{folder}/{number}.jpg", picture(number + 20))
    code, _, err = run_cli("data", "split", root)
    assert code == 1 and told in err and "Traceback" not in err
    assert not list(root.glob("*.*"))


def test_one_folder_is_no_split(tmp_path, run_cli):
    file(tmp_path / "x/only/1.jpg", picture())
    code, _, err = run_cli("data", "split", tmp_path / "x")
    assert code == 1 and "1 folder with images; a split needs two or more" in err
    with pytest.raises(SourceError):
        from distillkit.corpora.split import split

        split(str(tmp_path / "nowhere"))


def test_a_split_that_is_killed_leaves_no_list_of_one_beside_one_of_another(root, monkeypatch):
    """An image could be learned from that another list keeps."""
    lists = ("train.tsv", "val_on_train.tsv", "val.tsv", "split.json")
    split(str(root), seed=3)
    old = {name: (root / name).read_bytes() for name in lists}
    real, left = type(root).replace, [0]

    def replace(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(type(root), "replace", replace)
    for at in range(12):  # six old ones go, six new ones come
        left[0] = 99
        split(str(root), seed=3, overwrite=True)
        left[0] = at
        with pytest.raises(KeyboardInterrupt):
            split(str(root), seed=4, overwrite=True)
        same = {name: (root / name).read_bytes() == old[name] for name in lists if (root / name).exists()}
        assert len({*same.values()}) <= 1, (at, same)
