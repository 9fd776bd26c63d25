"""Several captions of an image cost one decode and one forward: the store is the one that each row by itself makes."""

import json
import shutil

import numpy as np
import pytest

from distillkit.engine import distinct
from distillkit.engine.sight import Sight
from distillkit.extract import extract
from distillkit.store.reading.reader import FeatureStore
from tests.conftest import draw

RECIPE = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}" }}
[[corpora]]
name = "pairs"
source = {{ kind = "jsonl", file = "{corpus}/pairs.jsonl", image_field = "image", captions = "all" }}
fields = ["image", "text"]
rows_per_shard = 64
batch_size = 4
max_failures = 0.5
"""


@pytest.fixture
def recipe(tmp_path, teacher_folder):
    """Sixteen images of five captions each, in shards of 64 rows; one of the images is damaged."""
    corpus = draw(tmp_path / "corpus", 16)
    (corpus / "images/003.png").write_bytes(b"no image")
    lines = [{"image": f"images/{n:03d}.png", "text": [f"{n} said {k}" for k in range(5)]} for n in range(16)]
    (corpus / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = tmp_path / "extract.toml"
    path.write_text(RECIPE.format(out=tmp_path / "out", teacher=teacher_folder, corpus=corpus))
    return path


@pytest.fixture
def looks(monkeypatch):
    """The images that are decoded, in turn."""
    seen, look = [], Sight.__call__

    def counted(self, key, location):
        seen.append(location)
        return look(self, key, location)

    monkeypatch.setattr(Sight, "__call__", counted)
    return seen


def test_each_image_of_a_shard_is_decoded_once_and_said_of_all_its_rows(recipe, tmp_path, looks, monkeypatch):
    extract(recipe, lambda line: None)
    # The 13th image has rows in both shards.
    assert sorted(looks) == sorted([f"images/{n:03d}.png" for n in range(16)] + ["images/012.png"])
    once = FeatureStore(tmp_path / "out/pairs")
    assert len(once) == 80 and len(once.ok_rows) == 75
    assert [line["key"] for line in once.failures()] == [f"images/003.png/{k}" for k in range(5)]
    said = [json.loads(line) for line in (once.path / "extract.jsonl").read_text().splitlines()]
    assert [line["images"] for line in said if "shard" in line] == [12, 4]

    shutil.move(tmp_path / "out", tmp_path / "once")
    once = FeatureStore(tmp_path / "once/pairs")
    monkeypatch.setattr(distinct, "_first_with_the_same", lambda image: np.arange(len(image)))
    looks.clear()
    extract(recipe, lambda line: None)
    each = FeatureStore(tmp_path / "out/pairs")
    assert len(looks) == 80 and each.index.equals(once.index) and each.failures() == once.failures()
    for name in ("image", "text"):
        a, b = (store.read(name, store.ok_rows).float().numpy() for store in (once, each))
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    for rows in once.ok_rows.reshape(15, 5):
        image, text = once.read("image", rows), once.read("text", rows)
        assert (image == image[0]).all() and not (text == text[0]).all()


def test_rows_of_drawn_views_are_looked_at_one_by_one(recipe, looks):
    """Each row's views are drawn by its key: they are others of the same image."""
    recipe.write_text(recipe.read_text().replace("rows_per_shard = 64", "") + "[corpora.views]\ncount = 2\n")
    extract(recipe, lambda line: None)
    assert len(looks) == 80


def test_rows_without_an_image_are_nobodys_twins():
    import pyarrow as pa

    image = pa.chunked_array([["b", None, "a"], [None, "b", "a"]])
    assert distinct._first_with_the_same(image).tolist() == [0, 1, 2, 3, 0, 2]
    assert distinct._first_with_the_same(pa.chunked_array([[None, None]], pa.string())).tolist() == [0, 1]
