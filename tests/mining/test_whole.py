"""An index that is not the one that was written is noticed, and made again: nobody gives FAISS a damaged file."""

import json
import random

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.mine import mine_here
from distillkit.mining import index
from distillkit.mining.vectors import Vectors
from distillkit.store.reading.reader import FeatureStore
from tests.mining.test_mine import mined, recipe

MADE = {"corpus": "0" * 64, "field": "toy/text", "rows": 999, "seed": 0}


@pytest.fixture
def vectors(texts):
    store = FeatureStore(texts.path)
    return Vectors(store, "text", store.ok_rows)


def flip(content, seed):
    draw, changed = random.Random(seed), bytearray(content)
    for _ in range(draw.randint(1, 3)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def asked(made, vectors):
    return [found.tolist() for found in made.search(vectors.unit(np.arange(20)), 5)]


@pytest.mark.parametrize("kind", ["ivf_pq", "hnsw"])
def test_flipped_bytes_are_noticed_and_the_neighbours_are_the_same(tmp_path, vectors, kind, monkeypatch):
    folder, said, build = tmp_path / "index", [], index.build
    first = asked(index.opened(folder, kind, vectors, MADE, said.append), vectors)
    whole, told = (folder / "index.faiss").read_bytes(), (folder / "index.json").read_bytes()
    read, built = [], []
    monkeypatch.setattr(index.faiss, "read_index", read.append)
    monkeypatch.setattr(index, "build", lambda *given: built.append(given) or "made again")
    monkeypatch.setattr(index.faiss, "write_index", lambda made, file: None)
    damages = [flip(whole, seed) for seed in range(200)] + [b"", whole[:100], whole[:-1], whole + b"\0"]
    for damaged in damages:
        (folder / "index.faiss").write_bytes(damaged)
        (folder / "index.json").write_bytes(told)
        said.clear()
        assert index.opened(folder, kind, vectors, MADE, said.append) == "made again"
        assert said[0] == f"{folder / 'index.faiss'}: damaged; the index is made again"
    assert read == [] and len(built) == len(damages)
    monkeypatch.undo()
    (folder / "index.faiss").write_bytes(damages[0])
    (folder / "index.json").write_bytes(told)
    assert asked(index.opened(folder, kind, vectors, MADE, said.append), vectors) == first
    assert asked(index.opened(folder, kind, vectors, MADE, said.append), vectors) == first
    assert said[-1].endswith("the index of an earlier run is used again") and build is index.build


@pytest.mark.parametrize("left", ["no checksum", "no index", "no JSON", "no table", "nested"])
def test_an_index_that_nobody_can_vouch_for_is_made_again_once(tmp_path, vectors, left):
    folder, said = tmp_path / "index", []
    first = asked(index.opened(folder, "sq8", vectors, MADE, said.append), vectors)
    if left == "no checksum":  # as older versions kept it
        (folder / "index.json").write_text(json.dumps(MADE))
    elif left == "no index":
        (folder / "index.faiss").unlink()
    else:
        (folder / "index.json").write_text({"no JSON": "{", "no table": "[]", "nested": "[" * 100_000}[left])
    said.clear()
    assert asked(index.opened(folder, "sq8", vectors, MADE, said.append), vectors) == first
    why = "an older version kept it without a checksum" if left == "no checksum" else "damaged"
    assert said[0] == f"{folder / 'index.faiss'}: {why}; the index is made again"
    said.clear()
    assert asked(index.opened(folder, "sq8", vectors, MADE, said.append), vectors) == first
    assert said == [f"{folder / 'index.faiss'}: the index of an earlier run is used again"]


def test_one_that_was_made_from_something_else_stays(tmp_path, vectors):
    index.opened(tmp_path / "index", "sq8", vectors, MADE, lambda line: None)
    (tmp_path / "index/index.faiss").write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"made from something else \(seed: 0 against 1\); delete that folder"):
        index.opened(tmp_path / "index", "sq8", vectors, MADE | {"seed": 1}, pytest.fail)


def test_mining_with_a_damaged_index_finds_what_it_found(tmp_path, images, texts):
    knobs, said = {"index": "ivf_pq", "held_out": 50}, []
    mine_here(recipe(images, texts, **knobs), 1, said.append)
    before = mined(images)
    (kept,) = tmp_path.glob("texts.index/*/index.faiss")
    kept.write_bytes(flip(kept.read_bytes(), 3))
    mine_here(recipe(images, texts, name="again", **knobs), 1, said.append)
    assert f"{kept}: damaged; the index is made again" in said
    assert all(np.array_equal(*both, equal_nan=True) for both in zip(before, mined(images, "again"), strict=True))
