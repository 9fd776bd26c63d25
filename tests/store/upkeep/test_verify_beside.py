"""What lies beside the rows and is read again: a flipped byte of it is named, and an older store is checked by less."""

import hashlib
import io
import json
import random

import numpy as np
import pytest
from PIL import Image

from distillkit.engine.append import append
from distillkit.engine.redo import redo
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.store.format.classes import classes_of, write_classes
from distillkit.store.format.losses import losses_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing import beside as module
from distillkit.store.writing.beside import keep_classes
from distillkit.store.writing.stamps import kept
from tests.faults.world import recipe_of

FLIPS = 200


@pytest.fixture
def made(tmp_path):
    """A store with classes, captions that were left out, rows that failed, stamps, steps; and what makes it again."""
    corpus = tmp_path / "corpus"
    for name in ("cat", "dog"):
        (corpus / name).mkdir(parents=True)
    lines = ["filepath\ttext"]
    for number in range(260):
        name = f"{('dog', 'cat')[number % 2]}/{number}.png"
        Image.new("RGB", (4, 4), (number % 256, abs(255 - number), 7)).save(corpus / name)
        lines.append(f"{name}\t{number} of them")
    (corpus / "cat/7.png").write_bytes(b"none")
    (corpus / "pairs.tsv").write_bytes("\n".join(lines).encode().replace(b"9 of them", b"\xff\xfe of them"))
    recipe = tmp_path / "recipe.toml"
    source = f'kind = "csv", file = "{corpus}/pairs.tsv", text_column = "text", classes = true'
    more = 'dtypes = { "one/image" = "int8" }'
    recipe.write_text(recipe_of(tmp_path / "out", source, ["one/image", "one/text"], more, rows=128))
    (store,) = extract(recipe)
    assert verify(store) == []
    return store, recipe, corpus


def files(store):
    """All that is read again; what the log tells is for people."""
    return [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != "extract.jsonl"]


def problems(store):
    try:
        return verify(store)
    except StoreError as error:  # of a manifest that is none any more
        return [str(error)]


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_a_flipped_byte_of_any_file_is_named(made):
    store, *_ = made
    found, draw = files(store), random.Random(0)
    names = {path.relative_to(store).as_posix() for path in found}
    assert names > {"classes.json", "left_out.jsonl", "checksums.json", "stamps/00000.npy", "failures/00000.jsonl"}
    small = [store / name for name in ("classes.json", "left_out.jsonl", *(f"stamps/0000{n}.npy" for n in range(3)))]
    for number in range(FLIPS):
        path = (small[number // 2 % len(small)] if number % 2 else draw.choice(found)).resolve()
        raw = path.read_bytes()
        flip(path, draw.randrange(len(raw)), draw.randrange(8))
        assert any(str(path) in line for line in problems(store)), f"{path}, try {number}"
        path.write_bytes(raw)
    assert verify(store) == []


def test_what_is_gone_is_missed_but_for_stamps_which_nobody_needs(made):
    store, *_ = made
    for name in ("classes.json", "left_out.jsonl"):
        raw = (store / name).read_bytes()
        (store / name).unlink()
        assert verify(store) == [f"{store / name}: missing"]
        (store / name).write_bytes(raw)
    (store / "stamps/00001.npy").unlink()
    assert verify(store) == []


def test_a_store_from_before_is_checked_as_before(made):
    store, *_ = made
    said = json.loads((store / "checksums.json").read_bytes())
    for name in ("classes.json", "left_out.jsonl"):
        del said[name]
    (store / "checksums.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    for path in (store / "stamps").iterdir():
        path.write_bytes(path.read_bytes()[:-32])
    was = kept(store, 0, 128)
    flip(store / "left_out.jsonl", 20, 0)
    flip(store / "stamps/00000.npy", -1, 0)
    assert verify(store) == [] and (kept(store, 0, 128) != was).sum() == 1
    (store / "checksums.json").unlink()
    (store / "classes.json").write_text('{"cat": 1, "hog": 0}')
    assert verify(store) == [] and classes_of(store) == {"cat": 1, "hog": 0}


def test_stamps_tell_by_themselves_that_they_are_as_written_and_numpy_opens_them(made):
    store, *_ = made
    path = store / "stamps/00000.npy"
    raw = path.read_bytes()
    assert hashlib.sha256(raw[:-32]).digest() == raw[-32:]
    assert np.load(path).shape == np.load(io.BytesIO(raw)).shape == (128,)
    for cut in (1, 31, 33):
        path.write_bytes(raw[:-cut])
        with pytest.raises(StoreError, match=r"00000\.npy: damaged; delete it: then nothing is known"):
            kept(store, 0, 128)


def test_dates_that_are_written_anew_stay_covered(made):
    store, recipe, corpus = made
    before = (store / "stamps/00000.npy").read_bytes()
    for path in corpus.glob("*/*.png"):
        path.touch()
    extract(recipe, instead=redo)
    assert (store / "stamps/00000.npy").read_bytes() != before and verify(store) == []
    flip(store / "stamps/00000.npy", 200, 3)
    assert verify(store) == [
        f"{store / 'stamps/00000.npy'}: damaged; delete it: then nothing is known of these images, and the store stays "
        "whole"
    ]


def test_a_store_that_grew_tells_what_was_left_out_of_all_of_it(made):
    store, recipe, corpus = made
    before = losses_of(store)
    Image.new("RGB", (4, 4), (1, 2, 3)).save(corpus / "cat/new.png")
    with (corpus / "pairs.tsv").open("ab") as table:
        table.write(b"\ncat/new.png\t\xff\xfe new\n")
    extract(recipe, instead=append)
    assert losses_of(store)[:-1] == before and losses_of(store)[-1]["key"] == "cat/new.png"
    flip(store / "left_out.jsonl", -9, 1)
    assert verify(store) == [f"{store / 'left_out.jsonl'}: not what {store / 'checksums.json'} says of it"]


def test_flipped_classes_are_no_classes(made):
    """A name that nobody gave would number the class of that name anew."""
    store, *_ = made
    table = classes_of(store)
    (store / "classes.json").write_bytes((store / "classes.json").read_bytes().replace(b"dog", b"eog"))
    assert table == {"cat": 0, "dog": 1} and classes_of(store) == {} and FeatureStore(store).class_numbers == {}


@pytest.mark.parametrize("stops", ["before", "after", None])
def test_classes_of_a_store_that_stands_are_written_anew_and_covered(made, monkeypatch, stops):
    """Stopped anywhere it is the one or the other, and verify has nothing to say."""
    store, *_ = made
    table = classes_of(store) | {"ant": 2}

    def stop(*_):
        if stops == "after":
            write_classes(*_)
        raise KeyboardInterrupt

    if stops:
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_classes", stop)
            with pytest.raises(KeyboardInterrupt):
                keep_classes(store, table)
        assert verify(store) == [] and classes_of(store) in (table, {"cat": 0, "dog": 1})
    keep_classes(store, table)
    assert verify(store) == [] and classes_of(store) == table
    if stops != "after":
        flip(store / "classes.json", 5, 0)
        assert verify(store) == [f"{store / 'classes.json'}: not what {store / 'checksums.json'} says of it"]
