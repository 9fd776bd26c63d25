"""Classes of a folder keep their numbers: a store to which one is appended, even in front, renumbers nothing."""

import json
import shutil

import pytest
from PIL import Image

from distillkit.engine.append import append
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.store.reading.reader import FeatureStore

RECIPE = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{root}", classes = true }}
fields = ["image"]
rows_per_shard = 64
"""


@pytest.fixture
def world(tmp_path, teacher_folder):
    def add(name, count=3):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40), (number * 20, len(name), 7)).save(tmp_path / f"photos/{name}/{number}.png")

    add("cat"), add("dog")
    recipe = tmp_path / "extract.toml"
    recipe.write_text(RECIPE.format(out=tmp_path / "out", teacher=teacher_folder, root=tmp_path / "photos"))
    said = []

    def run(**more):
        del said[:]
        return extract(recipe, said.append, **more)[0]

    run.add, run.said, run.store = add, said, tmp_path / "out/images"
    return run


def labels(path):
    store = FeatureStore(path)
    return dict(zip(store.index["key"].to_pylist(), store.index["label"].to_pylist(), strict=True))


@pytest.mark.parametrize("old", [False, True], ids=["with a table", "from before there was one"])
def test_a_new_class_in_front_is_appended_and_moves_none(world, old):
    before = labels(world())
    assert json.loads((world.store / "classes.json").read_bytes()) == {"cat": 0, "dog": 1}
    if old:
        (world.store / "classes.json").unlink()
    world.add("aardvark", 2), world.add("bee", 1)
    world(instead=append)
    after = labels(world.store)
    assert {key: after[key] for key in before} == before
    assert {key: after[key] for key in after.keys() - before.keys()} == {
        "aardvark/0.png": 2,
        "aardvark/1.png": 2,
        "bee/0.png": 3,
    }
    assert json.loads((world.store / "classes.json").read_bytes()) == {"cat": 0, "dog": 1, "aardvark": 2, "bee": 3}
    assert any("3 new rows behind 6" in line for line in world.said)
    world()
    assert any("already complete" in line for line in world.said)


def test_what_would_be_extracted_anew_is_offered_to_append(world):
    world()
    world.add("aardvark")
    with pytest.raises(StoreError, match="keep them and compute 3 more with `distillkit store append`"):
        world()


def test_info_names_the_classes(world, run_cli):
    world()
    code, out, _ = run_cli("store", "info", world.store)
    assert code == 0 and "classes  2: 0 cat, 1 dog\n" in out


def test_another_corpus_at_the_same_place_is_numbered_by_its_own_names(world, tmp_path):
    world()
    shutil.copytree(tmp_path / "photos/cat", tmp_path / "others/zebra")
    shutil.copytree(tmp_path / "photos/dog", tmp_path / "others/yak")
    world(overwrite=True, overrides=[f'corpora.0.source.root="{tmp_path}/others"'])
    assert json.loads((world.store / "classes.json").read_bytes()) == {"yak": 0, "zebra": 1}


def test_a_damaged_table_is_read_off_the_keys(world):
    world()
    (world.store / "classes.json").write_text("{")
    world.add("aardvark", 1)
    world(instead=append)
    assert labels(world.store)["aardvark/0.png"] == 2
