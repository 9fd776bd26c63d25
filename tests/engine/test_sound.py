"""Rows that grow, or are done again in part, are copied only from files that are as they were written."""

import pytest

from distillkit.engine.append import append
from distillkit.engine.redo import redo
from distillkit.engine.retry import retry
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.store.format.classes import classes_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.stores import merge
from tests.engine.whole import files
from tests.faults.world import recipe, recipe_of, square, squares

pytestmark = pytest.mark.usefixtures("quick_disk")
BORDER = (
    "one/image/c/1/0",
    "one/text/c/1/0",
    "index/00001.arrow",
    "failures/00001.jsonl",
    "manifest.json",
    "plan.json",
)


@pytest.fixture
def world(tmp_path):
    """100 squares in two shards, one of the second of which is damaged; what may be done with them."""
    corpus, place = squares(tmp_path / "corpus", 100), tmp_path / "recipe.toml"
    (corpus / "images/090.png").write_bytes(b"")
    place.write_text(recipe(tmp_path / "out", corpus, {"one": 1.0}, ["one/image", "one/text"]))

    def run(**options):
        said = []
        extract(place, said.append, **options)
        return said

    run()
    return corpus, tmp_path / "out/images", run


def spoil(path):
    raw = bytearray(path.read_bytes())
    if path.suffix == ".json":
        raw += b"\n"  # read as before, but not as it was written
    else:
        raw[5] ^= 16
    path.write_bytes(raw)


def begun(store):
    """Whether anything but locks lies where its successor is made."""
    return [path for path in (store.parent / ".images.appending").rglob("*") if path.suffix != ".lock"]


def grown(corpus):
    squares(corpus, 120)
    (corpus / "images/090.png").write_bytes(b"")


def replaced(corpus):
    square(200, corpus / "images/070.png")


@pytest.mark.parametrize("name", BORDER)
@pytest.mark.parametrize(("change", "again"), [(grown, append), (replaced, redo)])
def test_of_a_flipped_byte_no_copy_is_made(world, name, change, again):
    corpus, store, run = world
    change(corpus)
    spoil(store / name)
    told = verify(store)
    before = files(store)
    with pytest.raises(StoreError) as refused:
        run(instead=again)
    assert any(str(refused.value).startswith(line) for line in told) and "nothing was copied" in str(refused.value)
    assert files(store) == before and not begun(store)


def test_what_is_linked_keeps_its_checksum(world):
    """Of full shards nothing is copied: what was told of them is told as before."""
    corpus, store, run = world
    grown(corpus)
    spoil(store / "one/image/c/0/0")
    run(instead=append)
    (line,) = verify(store)
    assert line.startswith(f"{store}/one/image/c/0/0: sha256")


@pytest.mark.parametrize("shard", [0, 1])
def test_of_a_corpus_that_grew_a_shard_whose_file_was_deleted_is_done_again(world, shard, tmp_path):
    """By no other command it could be: that store has fewer rows than its corpus by now."""
    corpus, store, run = world
    grown(corpus)
    run(overrides=[f'out="{tmp_path / "whole"}"'])
    (store / f"one/image/c/{shard}/0").unlink()
    said = run(instead=append)
    assert f"{store}: shard {shard + 1} of 2 has lost files; it is extracted again" in said
    kept = 1 - (shard == 0)
    assert any(f"; {kept} full shard{'' if kept == 1 else 's'} of it stay" in line for line in said)
    found, wanted = FeatureStore(store), FeatureStore(tmp_path / "whole/images")
    assert verify(store) == [] and found.index.equals(wanted.index) and found.failures() == wanted.failures()
    for name in found.fields:
        assert found.read(name, found.ok_rows).equal(wanted.read(name, wanted.ok_rows))


def test_numbers_are_told_by_the_manifest_and_not_by_a_commit_that_is_bent(world):
    corpus, store, run = world
    grown(corpus)
    commit = store / "commits/00000.json"
    commit.write_text(commit.read_text().replace('"ok": 64', '"ok": 63'))
    run(instead=append)
    assert verify(store) == [] and FeatureStore(store).manifest.skipped == 1


@pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
def test_failures_are_not_tried_again_for_a_store_whose_record_is_bent(world, name):
    corpus, store, run = world
    square(90, corpus / "images/090.png")
    spoil(store / name)
    with pytest.raises(StoreError, match=f"{name}: not what"):
        run(instead=retry)
    assert not begun(store)


@pytest.mark.parametrize("damage", ["bent", "gone"])
def test_a_damaged_table_of_classes_is_made_again_where_the_corpus_is_planned_and_else_refused(tmp_path, damage):
    """New classes come behind, so their numbers are told by no alphabet; the keys of the store tell them."""
    photos, place = tmp_path / "photos", tmp_path / "recipe.toml"
    place.write_text(recipe_of(tmp_path / "out", f'kind = "folder", root = "{photos}", classes = true', ["one/image"]))

    def add(name, *numbers):
        (photos / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            square(number, photos / name / f"{number}.png")

    add("cat", 1, 2), add("dog", 3)
    extract(place, lambda line: None)
    add("ape", 4)
    extract(place, lambda line: None, instead=append)
    store = tmp_path / "out/images"
    table = {"cat": 0, "dog": 1, "ape": 2}
    assert classes_of(store) == table
    (store / "classes.json").write_text("{}") if damage == "bent" else (store / "classes.json").unlink()
    told = verify(store)
    assert len(told) == 1 and told[0].startswith(f"{store}/classes.json: ")
    with pytest.raises(StoreError, match=r"classes.json: .*; nothing was copied; "):
        merge(tmp_path / "both", [store, store])
    add("ape", 5)
    extract(place, lambda line: None, instead=append)
    assert classes_of(store) == table and verify(store) == []
    numbers = FeatureStore(store).index.to_pydict()
    assert dict(zip(numbers["key"], numbers["label"], strict=True))["ape/5.png"] == 2
