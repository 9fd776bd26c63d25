"""Folders and globs. Kind C: what a walk does not take is counted, links are followed; what it cannot list stops it."""

import os
import random
import sys

import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.pixels.pillow import FORMATS
from distillkit.sources._places import IMAGES
from distillkit.sources.folder import Folder
from distillkit.sources.parquet import Parquet
from distillkit.sources.webdataset import WebDataset
from tests.sources.test_webdataset import sample, write_tar

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


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    example(tmp_path / "corpus")
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "disk/deep/1.png").write_bytes(b"")
    for name, target in (
        ("corpus/loop", "corpus"),  # itself
        ("corpus/up", "."),  # a folder that holds it
        ("corpus/a/away", "disk"),
        ("disk/back", "corpus/a"),  # a circle of two links
        ("disk/deep/again", "disk"),
    ):
        (tmp_path / name).symlink_to(tmp_path / target, target_is_directory=True)
    source = Folder(root=str(tmp_path / "corpus"))
    assert sorted(one.key for one in source) == sorted([*NAMES, "a/away/deep/1.png"])
    assert source.account.line(7) == "7 samples taken; passed over: 4 links in circles; 1 link followed"
    assert source.read("a/away/deep/1.png").is_file()


def test_a_link_to_a_folder_is_a_class(tmp_path):
    for name in ("corpus/b/1.png", "corpus/c/1.png", "disk/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "corpus/a").symlink_to("../disk")
    found = Folder(root=str(tmp_path / "corpus"), classes=True)
    assert {one.key: one.label for one in found} == {"a/1.png": 0, "b/1.png": 1, "c/1.png": 2}


def test_what_a_walk_does_not_take_is_counted_and_makes_no_class(tmp_path):
    names = ["b/1.png", "b/._1.png", "b/clip.mp4", "b/other.MP4", "c/1.jpe", "c/2.ppm", "c/3.JFIF", "c/4.pgm"]
    names += [".cache/1.png", "a/notes.txt", "b/README", ".DS_Store"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    source = Folder(root=str(tmp_path), classes=True)
    assert {one.key: one.label for one in source} == {
        "b/1.png": 0,
        **{f"c/{name}": 1 for name in ("1.jpe", "2.ppm", "3.JFIF", "4.pgm")},
    }
    assert source.account.line(5) == (
        "5 samples taken; "
        "passed over: 3 hidden, 2 .mp4, 2 folders without images, hence no class, 1 .txt, 1 without an ending"
    )
    source = Folder(root=str(tmp_path), classes=True, skip=["b", "c*"])
    assert list(source) == [] and source.account.passed["skipped folder(s)"] == 2


def test_every_ending_that_the_decoder_has_is_taken():
    Image.init()
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO")}
    assert endings <= IMAGES


@pytest.mark.parametrize("kind", ["folder", "tars", "parquet"])
def test_a_folder_that_cannot_be_listed_stops_the_walk_by_name(tmp_path, monkeypatch, kind):
    for name in ("a/1.png", "b/1.png", "b/1.tar", "b/1.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    real = os.scandir

    def refusing(folder):
        if str(folder).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    root, told = (
        str(tmp_path),
        r"/b: cannot be listed \(Permission denied\); make it readable, or leave it out with source\.",
    )
    make = {
        "folder": lambda **knobs: Folder(root=root, **knobs),
        "tars": lambda: WebDataset(root=root, shards="*/*.tar"),
        "parquet": lambda: Parquet(root=root, files="**/*.parquet"),
    }[kind]
    with pytest.raises(SourceError, match=told):
        list(make())
    if kind == "folder":
        assert [one.key for one in make(skip=["b"])] == ["a/1.png"]


def test_globs_pass_over_hidden_files_and_follow_links(tmp_path):
    write_tar(tmp_path / "disk/0.tar", sample("a"))
    write_tar(tmp_path / "corpus/1.tar", sample("b"))
    for name in ("corpus/._1.tar", "corpus/1_stats.json"):
        (tmp_path / name).write_bytes(b"no tar")
    (tmp_path / "corpus/.hidden").mkdir()
    write_tar(tmp_path / "corpus/.hidden/2.tar", sample("c"))
    (tmp_path / "corpus/more").symlink_to(tmp_path / "disk")
    source = WebDataset(root=str(tmp_path / "corpus"), shards="**/*.tar")
    assert [one.key for one in source] == ["b", "a"]
    assert source.account.line(2) == "2 samples taken; passed over: 2 hidden, 1 .json; 1 link followed"
    assert [one.key for one in WebDataset(root=str(tmp_path / "corpus"), shards=".hidden/*.tar")] == ["c"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf_8_are_written_as_escapes(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    (tmp_path / "good.png").write_bytes(b"")
    assert keys(tmp_path) == [r"caf\xe9.png", "good.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(
        SourceError, match=r"absent: no such folder of images; mend that path \(in a recipe: source\.root\)"
    ):
        Folder(root=str(tmp_path / "absent"))


def test_the_root_may_use_placeholders(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    example(tmp_path)
    assert sorted(keys("{cache}")) == sorted(NAMES)
