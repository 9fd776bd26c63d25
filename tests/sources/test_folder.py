import os
import random
import sys

import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.sources.folder import Folder

NAMES = ("b/2.png", "b/1.JPG", "a/deep/er/3.webp", "top.png", "a/x.tiff", "c d/ü — 文.png")


def example(folder):
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return {"root": str(folder)}


def keys(folder, **knobs):
    return [sample.key for sample in Folder(root=str(folder), **knobs)]


def test_every_image_at_every_depth_and_nothing_else(tmp_path):
    example(tmp_path)
    for name in ("notes.txt", "a/.DS_Store", "b/png", "list.png.bak"):
        (tmp_path / name).write_text("")
    assert sorted(keys(tmp_path)) == sorted(NAMES)


def test_the_order_is_that_of_the_names_not_of_the_disk(tmp_path):
    orders = []
    for attempt in range(3):
        names = [f"{folder}/{n}.png" for folder in "cab" for n in (10, 9, 1)]
        random.Random(attempt).shuffle(names)
        for name in names:
            path = tmp_path / str(attempt) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        orders.append(keys(tmp_path / str(attempt)))
    assert orders[0] == orders[1] == orders[2] == [f"{folder}/{n}.png" for folder in "abc" for n in (1, 10, 9)]


def test_classes_are_the_first_folders_in_name_order(tmp_path):
    example(tmp_path)
    labels = {sample.key: sample.label for sample in Folder(root=str(tmp_path), classes=True)}
    assert labels == {
        "b/2.png": 1,
        "b/1.JPG": 1,
        "a/deep/er/3.webp": 0,
        "a/x.tiff": 0,
        "top.png": None,
        "c d/ü — 文.png": 2,
    }
    assert {sample.label for sample in Folder(root=str(tmp_path))} == {None}


def test_links_to_folders_are_not_followed(tmp_path):
    example(tmp_path / "corpus")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.png").write_bytes(b"")
    (tmp_path / "corpus/loop").symlink_to(tmp_path / "corpus", target_is_directory=True)
    (tmp_path / "corpus/a/away").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert sorted(keys(tmp_path / "corpus")) == sorted(NAMES)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf_8_are_written_as_escapes(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    (tmp_path / "good.png").write_bytes(b"")
    assert keys(tmp_path) == [r"caf\xe9.png", "good.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent: no such folder of images; mend source\.root"):
        Folder(root=str(tmp_path / "absent"))


def test_the_root_may_use_placeholders(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    example(tmp_path)
    assert sorted(keys("{cache}")) == sorted(NAMES)
