"""A part of a corpus: patterns, sizes, lots and numbers, around any source; told, and part of the store's identity."""

import json
import random

import pyarrow as pa
import pytest
from PIL import Image

from distillkit.engine.narrowed import Narrowed
from distillkit.errors import RecipeError
from distillkit.extract import extract
from distillkit.recipe import Corpus
from distillkit.types import Sample

NAMES = ["a/1.png", "a/2.jpg", "b/1.png", "b/c/1.png", "top.png"]


def corpus(**knobs):
    return Corpus(name="x", source={"kind": "folder", "root": "/"}, fields=["image"], **knobs)


def keys(samples, **knobs):
    return [sample.key for sample in Narrowed(samples, corpus(**knobs))]


@pytest.fixture
def samples():
    return [Sample(name, text="t") for name in NAMES]


@pytest.mark.parametrize(
    ("knobs", "left"),
    [
        ({"include": ["*.png"]}, ["a/1.png", "b/1.png", "b/c/1.png", "top.png"]),
        ({"include": ["a/*", "top.png"]}, ["a/1.png", "a/2.jpg", "top.png"]),
        ({"include": ["b/*"]}, ["b/1.png"]),
        ({"include": ["b/**"]}, ["b/1.png", "b/c/1.png"]),
        ({"exclude": ["**/1.png"]}, ["a/2.jpg", "top.png"]),
        ({"include": ["*.png"], "exclude": ["b/**"]}, ["a/1.png", "top.png"]),
        ({"limit": 2}, NAMES[:2]),
        ({"limit": 9}, NAMES),
        ({"exclude": ["a/**"], "limit": 1}, ["b/1.png"]),
    ],
)
def test_patterns_and_limits(samples, knobs, left):
    assert keys(samples, **knobs) == left


def test_a_limit_counts_keys_not_their_captions():
    samples = [Sample(key, text=str(number)) for number, key in enumerate("aabbcc")]
    assert keys(samples, limit=2) == ["a", "a", "b", "b"]


def test_a_limit_reads_no_further():
    def endless():
        number = 0
        while True:
            yield Sample(str(number), text="t")
            number += 1

    assert keys(endless(), limit=3) == ["0", "1", "2"]


def test_a_lot_is_the_same_in_any_order_and_another_for_another_seed():
    samples = [Sample(f"{number}.png", text="t") for number in range(500)]
    drawn = keys(samples, sample={"n": 50, "seed": 1})
    assert len(drawn) == 50 and drawn == sorted(drawn, key=lambda key: int(key[:-4]))  # in the source's order
    shuffled = random.Random(0).sample(samples, 500)
    assert set(keys(shuffled, sample={"n": 50, "seed": 1})) == set(drawn)
    assert set(keys(samples, sample={"n": 50, "seed": 2})) != set(drawn)
    assert set(keys(samples, sample={"n": 40, "seed": 1})) < set(drawn)  # fewer of the same
    assert keys(samples, sample={"n": 50, "seed": 1}, limit=5) == drawn[:5]
    assert len(keys(samples, sample={"n": 5000})) == 500


def test_a_lot_takes_all_rows_of_a_key():
    samples = [Sample(f"{number // 2}", text=str(number)) for number in range(100)]
    drawn = keys(samples, sample={"n": 10})
    assert len(drawn) == 20 and len(set(drawn)) == 10


def test_small_images_are_left_out_and_broken_ones_kept(tmp_path):
    for name, size in (("large", (80, 70)), ("narrow", (80, 20)), ("small", (8, 8))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    samples = [Sample(path.name, image=path) for path in sorted(tmp_path.iterdir())]
    narrowed = Narrowed(samples, corpus(min_side=64))
    assert [sample.key for sample in narrowed] == ["broken.png", "large.png"]
    assert narrowed.told == "2 with a side below 64 pixels"


@pytest.mark.parametrize("knobs", [{"sample": {"n": 0}}, {"limit": 0}, {"min_side": -1}, {"sample": {"m": 1}}])
def test_nonsense_is_refused(knobs):
    with pytest.raises((RecipeError, ValueError)):
        corpus(**knobs)


def test_a_narrowed_corpus_is_told_kept_and_another_store(recipes, tmp_path):
    said = []

    def run(*overrides):
        del said[:]
        settings = [f"corpora.0.{override}" for override in overrides]
        return extract(recipes[0], said.append, overrides=settings, overwrite=True)[0]

    store = run("limit=20", 'exclude=["images/00*"]')
    manifest = json.loads((store / "manifest.json").read_bytes())
    assert manifest["rows"] == 20
    assert manifest["source"]["narrowed"] == {"exclude": ["images/00*"], "limit": 20}
    planned = pa.ipc.open_file(store / "plan.arrow").read_all()["key"].to_pylist()
    assert planned == [f"images/{number:03d}.png" for number in range(10, 30)]
    assert any("10 of a pattern of exclude; the first 20" in line for line in said)
    run("limit=20", 'exclude=["images/00*"]')
    assert any("already complete" in line for line in said)
    whole = run()
    manifest = json.loads((whole / "manifest.json").read_bytes())
    assert manifest["rows"] == 70 and "narrowed" not in manifest["source"]
    assert any("rows: 20 -> 70" in line and "extracting anew" in line for line in said)
