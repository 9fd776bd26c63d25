"""A corpus that grew: what is there stays, bit for bit, and only what is new is computed."""

import json
import random
import sys

import numpy as np
import pytest

from distillkit.engine import append as module
from distillkit.engine import successor
from distillkit.store.format.log import logged, planned
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.conftest import WORDS, draw
from tests.server_disk import keeping_what_is_open

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def run(recipes, run_cli):
    def run(*command):
        code, _, err = run_cli(*command, recipes[0], "--set", 'corpora.0.fields=["image", "text"]')
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def store(run, tmp_path):
    assert run("extract-teacher")[0] == 0
    return tmp_path / "out/images"


def grow(corpus, count, seed=1):
    """As many more images, anywhere in the table."""
    header, *lines = (corpus / "pairs.tsv").read_text().splitlines()
    more = draw(corpus.parent / f"more{seed}", count, seed)
    for number in range(count):
        name = f"images/new{seed}-{number:03d}.png"
        (more / f"images/{number:03d}.png").rename(corpus / name)
        lines.append(f"a new {WORDS[number % 8]}\t{name}")
    random.Random(seed).shuffle(lines)
    (corpus / "pairs.tsv").write_text("\n".join([header, *lines]) + "\n")


def read(path):
    store = FeatureStore(path)
    return dict(zip(store.index["key"].to_pylist(), store.read("image", np.arange(len(store))).numpy(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="which files are open, /proc tells")
def test_on_a_file_server_that_keeps_open_files_a_store_grows(run, store, corpus, monkeypatch):
    """The lock of the one who appends lies in the folder that goes in the end."""
    grow(corpus, 5)
    keeping_what_is_open(monkeypatch)
    code, err = run("store", "append")
    assert code == 0 and "the old store is now" in err, err
    assert len(FeatureStore(store)) == 75 and verify(store) == []
    for _ in range(2):
        code, err = run("store", "append")
        assert code == 0 and "no new samples" in err, err
    grow(corpus, 5, seed=2)
    assert run("store", "append")[0] == 0 and len(FeatureStore(store)) == 80


def test_old_rows_stay_bit_for_bit_and_new_ones_are_what_an_extraction_gives(run, store, corpus, run_cli, tmp_path):
    (corpus / "images/003.png").write_bytes(b"")  # fails in the border's shard, before and after
    (corpus / "images/068.png").write_bytes(b"")
    store.rename(tmp_path / "first")
    assert run("extract-teacher")[0] == 0
    before, digest, place = read(store), Manifest.read(store).digest, (store / "openclip/image/c/0/0").stat().st_ino
    grow(corpus, 100)
    code, err = run("store", "append")
    assert code == 0 and "100 new rows behind 70; 1 full shard of it stays as it is" in err
    assert verify(store) == [] and (store / "openclip/image/c/0/0").stat().st_ino == place
    grown = FeatureStore(store)
    assert len(grown) == 170 and grown.index["key"].to_pylist()[:70] == list(before)
    after = read(store)
    for key, row in before.items():
        np.testing.assert_array_equal(after[key], row)
    assert planned(store).startswith("170 samples taken"), "of the corpus that it has now"
    lines = logged(store)
    assert sum(line["rows"] for line in lines) == 170 and all(line["forward_seconds"]["image"] for line in lines)
    assert {line["key"] for line in grown.failures()} == {"images/003.png", "images/068.png"}
    assert Manifest.read(store).name == "images" and not list(store.parent.glob(".*.appending"))
    (aside,) = store.parent.glob("images.before-*")
    assert verify(aside) == [] and Manifest.read(aside).digest == digest

    code, err = run("extract-teacher")
    assert code == 0 and f"{store}: already complete (170 rows), nothing to do" in err
    code, _, _ = run_cli("extract-teacher", tmp_path / "extract.toml", "--set", f'out="{tmp_path}/anew"')
    anew = read(tmp_path / "anew/images")
    assert code == 0 and anew.keys() == after.keys()
    for key, row in anew.items():
        # Other neighbours in a batch may change the last bits of float32, and so the last bit of float16.
        np.testing.assert_allclose(after[key], row, rtol=2e-3, atol=1e-4)


def test_int8_rows_keep_their_steps(run_cli, recipes, corpus, tmp_path):
    def run(*command):
        settings = ("corpora.0.rows_per_shard=128", 'corpora.0.dtypes={ image = "int8" }')
        assert run_cli(*command, recipes[0], *(word for setting in settings for word in ("--set", setting)))[0] == 0
        return FeatureStore(tmp_path / "out/images")

    before, rows = run("extract-teacher"), np.arange(70)
    said, numbers = before.read("image", rows), before.read("image", rows, raw=True)
    grow(corpus, 80)
    after = run("store", "append")
    assert verify(after.path) == [] and after.field("image").dtype == "int8" and len(after) == 150
    assert after.read("image", rows, raw=True).equal(numbers) and after.read("image", rows).equal(said)


def test_only_what_is_new_is_computed(run, store, corpus, monkeypatch):
    from distillkit.teachers.openclip import Openclip

    shown, real = [], Openclip.forward

    def counted(self, pixels=None, **rest):
        shown.append(0 if pixels is None else len(pixels))
        return real(self, pixels=pixels, **rest)

    monkeypatch.setattr(Openclip, "forward", counted)
    grow(corpus, 80)
    assert run("store", "append")[0] == 0
    assert sum(shown) == 80
    for _ in range(2):
        code, err = run("store", "append")
        assert code == 0 and "the corpus has no new samples, nothing to do" in err and sum(shown) == 80
    code, err = run("store", "append", "--only", "images")
    assert code == 0 and str(store) in err and str(store.parent / "texts") not in err


def test_it_grows_twice_and_fills_a_shard_exactly(run, store, corpus):
    for seed, count in ((1, 58), (2, 3)):  # 70 + 58 = 128, two full shards
        grow(corpus, count, seed)
        assert run("store", "append")[0] == 0
        assert verify(store) == []
    assert [shard.rows for shard in Manifest.read(store).shards] == [64, 64, 3]
    assert len(list(store.parent.glob("images.before-*"))) == 2
    assert len((store / "extract.jsonl").read_text().splitlines()) >= 3


def test_an_append_that_is_stopped_leaves_the_store_and_goes_on(run, store, corpus, monkeypatch):
    digest = Manifest.read(store).digest
    grow(corpus, 100)

    def stop(*_):
        raise OSError(5, "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(module.LocalEngine, "run", stop)
        code, err = run("store", "append")
        assert code == 1 and "stopped" in err
    assert Manifest.read(store).digest == digest and verify(store) == []
    with monkeypatch.context() as patch:
        patch.setattr(successor, "_move_in", stop)
        code, err = run("store", "append")
        assert code == 1 and "stopped" in err
    assert not store.exists()  # between the old one and the grown one
    code, err = run("extract-teacher")
    assert code == 0 and f"{store}: already complete (170 rows), nothing to do" in err and verify(store) == []


def test_a_corpus_that_changed_otherwise_is_not_appended_to(run, run_cli, recipes, store, corpus):
    before = Manifest.read(store).digest
    grow(corpus, 5)
    code, _, err = run_cli("store", "append", recipes[0], "--set", 'corpora.0.dtype="float32"')
    assert code == 1 and "dtype: 'float16' -> 'float32'; only what the same recipe gives can be appended" in err
    table = (corpus / "pairs.tsv").read_text()
    (corpus / "pairs.tsv").write_text(table.replace("a square number 0\t", "another text\t", 1))
    code, err = run("store", "append")
    told = "1 of its 70 rows changed in the corpus, as 'images/000.png', whose text was 'a square number 0' and is"
    assert code == 1 and told in err and "extract anew: distillkit extract-teacher RECIPE --overwrite" in err
    code, err = run("extract-teacher")
    assert code == 1 and told in err and "add --overwrite" in err
    (corpus / "pairs.tsv").write_text("".join(line for line in table.splitlines(True) if "images/000.png" not in line))
    code, err = run("store", "append")
    assert code == 1 and "1 of its 70 rows gone from the corpus, the first is 'images/000.png'" in err
    assert err.rstrip().endswith("distillkit extract-teacher RECIPE --allow-smaller")
    assert Manifest.read(store).digest == before and json.loads((store / "plan.json").read_text())["rows"] == 70


def test_a_plain_run_tells_that_it_could_be_appended(run, store, corpus):
    grow(corpus, 5)
    code, err = run("extract-teacher")
    assert code == 1 and "`distillkit store append`" in err and "--overwrite" in err and verify(store) == []


def test_a_plain_run_of_other_fields_does_not_send_to_an_append_that_refuses(run, store, corpus, run_cli, recipes):
    grow(corpus, 20)
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", 'corpora.0.dtype="float32"')
    assert code == 1 and "store append" not in err and "Nothing was touched: undo the change, " in err


@pytest.mark.usefixtures("every_step")
def test_of_the_border_it_is_told_how_far_it_is(run, store, corpus):
    grow(corpus, 50)  # all of them in the shard that was not full: a picture and a text of each
    code, err = run("store", "append")
    assert code == 0 and f"{store}: images and texts 50/100  " in err
