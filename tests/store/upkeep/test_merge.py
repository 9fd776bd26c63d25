"""Parts of one extraction, and stores of several corpora, as one store."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import StoreError
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.log import commands
from distillkit.store.format.maker import how_again
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.parts import are_parts, assemble
from distillkit.store.upkeep.verify import verify
from distillkit.stores import merge
from distillkit.system.lines import append_line, read_lines
from tests.conftest import draw, make_teacher
from tests.store.conftest import FIELDS, contents

MADE = {"toy": "1"}


@pytest.fixture
def parts(make_toy, tmp_path):
    """Three shards of one plan in two folders: 0 and 2 here, 1 there."""
    folders = []
    for number, shards in enumerate([(0, 2), (1,)]):
        toy = make_toy(path=tmp_path / f"part{number}/store")
        writer = toy.writer()
        writer.begin()
        for shard in shards:
            toy.commit(writer, shard)
        folders.append(toy.path)
    return folders


def test_parts_are_the_store_of_one_undivided_run(toy, parts, tmp_path):
    assert are_parts(parts)
    out = tmp_path / "merged" / toy.path.name
    assemble(out, parts, print, MADE)
    assert contents(out) == contents(toy.path) and verify(out) == []
    assemble(out, parts, print, MADE)  # again: nothing changes
    assert contents(out) == contents(toy.path)


def test_the_log_of_merged_parts_has_their_lines_and_the_merge(parts, tmp_path):
    for folder, shards in zip(parts, [(0, 2), (1,)], strict=True):
        for shard in shards:
            line = {"shard": shard, "command": f"extract {folder.parent.name}", "cut": {"toy/text": 1}}
            append_line(folder / LOG, line)
    out, command = tmp_path / "merged/store", "distillkit store merge merged/store part0/store part1/store"
    for _ in range(2):  # again: nothing changes
        manifest = assemble(out, parts, print, MADE, command)
        assert [line.get("shard") for line in read_lines(out / LOG)] == [0, 1, 2, None]
    assert commands(out) == ["extract part0", "extract part1"] and how_again(out) == command
    assert list(manifest.remarks.values()) == [{"toy/text": 3}]  # as of an undivided run


def test_a_part_that_cannot_be_linked_is_copied(toy, parts, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "another disk")

    monkeypatch.setattr("os.link", refuse)
    assemble(tmp_path / "merged/store", parts, print, MADE)
    shutil.rmtree(parts[0])
    assert contents(tmp_path / "merged/store") == contents(toy.path)


def test_missing_damaged_and_foreign_parts_are_named(parts, tmp_path, make_toy):
    with pytest.raises(StoreError, match=r"1 of 3 shards are in none of the parts \(2\)"):
        assemble(tmp_path / "out", parts[:1], print, MADE)
    other = make_toy(rows=151, path=tmp_path / "other")
    other.write()
    with pytest.raises(StoreError, match=r"other is no part of the same extraction as .*store: rows: 150 -> 151"):
        assemble(tmp_path / "out", [parts[0], other.path], print, MADE)
    with pytest.raises(StoreError, match="no part of an extraction"):
        assemble(tmp_path / "out", [tmp_path / "nothing"], print, MADE)
    with pytest.raises(StoreError, match=r"is no store but holds .*other; name folders of stores"):
        assemble(tmp_path / "out", [tmp_path], print, MADE)
    with pytest.raises(StoreError, match="holds another store"):
        assemble(other.path, parts, print, MADE)
    name = "toy/image/c/1/0"
    damaged = bytearray((parts[1] / name).read_bytes())
    damaged[5] ^= 1
    (parts[1] / name).write_bytes(damaged)
    with pytest.raises(StoreError, match=f"{name}: missing, or not as it was written"):
        assemble(tmp_path / "out", parts, print, MADE)
    assert not (tmp_path / "out/manifest.json").exists()


def test_shards_that_two_parts_made_differently_are_told(toy, parts, make_toy, tmp_path):
    other = make_toy(path=tmp_path / "again/store")
    other.arrays["toy/image"] = other.arrays["toy/image"] + np.float16(1)
    writer = other.writer()
    writer.begin()
    other.commit(writer, 1)
    said = []
    assemble(tmp_path / "merged/store", [*parts, other.path], said.append, MADE)
    assert len(said) == 1 and "shard 2 is in" in said[0] and "with other bytes" in said[0]
    assert contents(tmp_path / "merged/store") == contents(toy.path)


# Several corpora. Row 3 of the first one has failed.
MISSED = (
    " (1 row with features will be missing, such as k0003, as the first row failed: name the store that has it first, "
    "or mend the other: extract-teacher RECIPE --retry-failed)"
)


@pytest.fixture
def pair(make_toy, tmp_path):
    one = make_toy(path=tmp_path / "one").write()
    other = make_toy(rows=100, failed=(0, 99), path=tmp_path / "other")
    other.keys = [f"x{key}" for key in other.keys]
    return one, other.write()


def test_stores_of_two_corpora_become_one(pair, tmp_path):
    paths = [toy.path for toy in pair]
    assert not are_parts(paths)
    concatenate(tmp_path / "both", paths, print, MADE)
    assert verify(tmp_path / "both") == []
    both, stores = FeatureStore(tmp_path / "both"), [FeatureStore(path) for path in paths]
    assert len(both) == 250 and len(both.ok_rows) == 150 - 3 + 100 - 2
    for store in stores:
        keys = store.index["key"].take(pa.array(store.ok_rows)).to_pylist()
        for name in store.fields:
            assert both.read(name, both.rows_of(keys)).equal(store.read(name, store.ok_rows))
    assert [line["key"] for line in both.failures()] == [line["key"] for store in stores for line in store.failures()]
    texts = [text for store in stores for text in store.index["text"].to_pylist()]
    assert both.index["text"].to_pylist() == texts


def test_keys_that_both_have_stay_once_and_are_told(pair, make_toy, tmp_path):
    one = pair[0]
    other = make_toy(rows=100, failed=(5,), path=tmp_path / "same")
    other.keys[10:] = [f"x{key}" for key in other.keys[10:]]
    # Of one image on another machine: rounded otherwise.
    other.arrays["toy/image"][:10] = one.arrays["toy/image"][:10] * np.float16(1.001)
    other.write()
    said = []
    manifest = concatenate(tmp_path / "both", [one.path, other.path], said.append, MADE)
    assert said == [
        f"10 keys are in more than one store, such as k0000, k0001, k0002{MISSED}; the first row of each stays"
    ]
    assert manifest.rows == 240 and manifest.source["duplicates"] == 10
    both, first, second = (FeatureStore(path) for path in (tmp_path / "both", one.path, other.path))
    assert both.read("image", both.rows_of(["k0005"])).equal(first.read("image", first.rows_of(["k0005"])))
    keys = other.keys[10:]
    assert both.read("image", both.rows_of(keys)).equal(second.read("image", second.rows_of(keys)))


def test_keys_that_both_have_for_other_images_are_told_with_what_helps(pair, make_toy, tmp_path):
    """Row 3 has failed in one store, and row 5 in the other: of these nobody knows. Rows 6 to 8 are other images."""
    one = pair[0]
    other = make_toy(rows=100, failed=(5,), path=tmp_path / "same")
    other.keys[10:] = [f"x{key}" for key in other.keys[10:]]
    other.arrays["toy/image"][:10] = one.arrays["toy/image"][:10]
    other.arrays["toy/image"][3:9:5] *= -1
    other.arrays["toy/image"][5:8] *= -1
    other.write()
    said = []
    concatenate(tmp_path / "both", [one.path, other.path], said.append, MADE)
    told = f"10 keys are in more than one store, such as k0000, k0001, k0002{MISSED}; the first row of each stays"
    assert said == [
        f"{told}, though 3 of them, such as k0006, k0007, k0008, are other images under one name: their features "
        "differ; to have both, extract with keys that differ: with a source.root above both folders, whose names then "
        "begin the keys, or with source.key_column or key_field"
    ]
    # Of views the rows that they mean.
    select(other.path, np.array([7, 20, 30]), tmp_path / "view")
    select(one.path, np.array([2, 7, 9]), tmp_path / "first")
    said.clear()
    concatenate(tmp_path / "views", [tmp_path / "first", tmp_path / "view"], said.append, MADE)
    assert said[0].startswith("1 key is in more than one store, such as k0007; the first row of each stays, though all")


def test_of_keys_that_both_have_no_row_of_both_may_have_features(pair, make_toy, tmp_path):
    """It was a traceback: of no rows there is no shape."""
    other = make_toy(rows=100, failed=(99,), path=tmp_path / "same")
    other.keys[:3], other.keys[4:] = ["a", "b", "c"], [f"x{key}" for key in other.keys[4:]]
    other.write()
    said = []
    assert concatenate(tmp_path / "both", [pair[0].path, other.path], said.append, MADE).rows == 249
    assert said == [f"1 key is in more than one store, such as k0003{MISSED}; the first row of each stays"]
    said.clear()
    both = concatenate(tmp_path / "other first", [other.path, pair[0].path], said.append, MADE)
    assert len(both.digest) and said == ["1 key is in more than one store, such as k0003; the first row of each stays"]
    assert (
        FeatureStore(tmp_path / "other first").rows_of(["k0003"])[0] in FeatureStore(tmp_path / "other first").ok_rows
    )


def test_what_was_added_is_told_with_the_recipe_that_added_it(tmp_path, run_cli, teacher_folder):
    """And by that recipe, with the source that is told, it is added to the merged store."""
    folders = {}
    for name in ("photos", "drawings"):
        folders[name] = draw(tmp_path / "drawn" / name, 6, seed=len(name)) / "images"
        for path in folders[name].iterdir():
            path.rename(path.with_name(f"{name}-{path.name}"))
    base = f'name = "toy"\nout = "{tmp_path}/stores"\n'
    corpus = '[[corpora]]\nname = "{}"\nfields = ["image"]\nsource = {{ kind = "folder", root = "{}" }}\n'
    extract = base + f'teacher = {{ kind = "openclip", model = "local-dir:{teacher_folder}" }}\n'
    extract += "".join(corpus.format(*one) for one in folders.items())
    second = make_teacher(tmp_path / "second", seed=1)
    teacher = f'[[teachers]]\nname = "second"\nkind = "openclip"\nmodel = "local-dir:{second}"\n'
    (tmp_path / "extract.toml").write_text(extract)
    (tmp_path / "second.toml").write_text(base + teacher + corpus.format("photos", folders["photos"]))
    for recipe in ("extract", "second"):
        assert run_cli("extract-teacher", tmp_path / f"{recipe}.toml")[0] == 0
    stores = tmp_path / "stores"
    code, _, err = run_cli("store", "merge", stores / "all", stores / "photos", stores / "drawings")
    assert (
        code == 0
        and (
            f"{stores}/photos: what was added to it stays there; add it to {stores}/all anew: second by distillkit "
            f'extract-teacher {tmp_path}/second.toml, where the recipe names out = "{stores}", a corpus "all" and the '
            'source "merged", as in docs/feature-store.md'
        )
        in err
    )
    parts = ", ".join(f'{{ kind = "folder", root = "{root}" }}' for root in folders.values())
    merged = f'[[corpora]]\nname = "all"\nfields = ["image"]\nsource = {{ kind = "merged", parts = [{parts}] }}\n'
    (tmp_path / "both.toml").write_text(base + teacher + merged)
    code, _, err = run_cli("extract-teacher", tmp_path / "both.toml")
    assert code == 0 and "second" in FeatureStore(stores / "all").added, err


def test_a_merged_store_finds_the_images_of_each(make_toy, tmp_path):
    """Two folders of images: each location names its part, and the source `merged` reads it."""
    from distillkit.recipe import Component

    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}k0001.png").write_bytes(name.encode())
        toy = make_toy(path=tmp_path / f"store_{name}")
        toy.keys = [f"{name}{key}" for key in toy.keys]
        source = {"kind": "folder", "knobs": {"root": "elsewhere"}, "root": str(tmp_path / name), "duplicates": 0}
        paths.append(toy.write(identity={"source": source}).path)
    concatenate(tmp_path / "both", paths, print, MADE)
    both = FeatureStore(tmp_path / "both")
    source = both.manifest.source
    assert source["kind"] == "merged" and source["root"] is None
    built = Component(kind="merged", **source["knobs"]).build("sources")
    for row, name in ((1, "a"), (151, "b")):
        assert built.read(both.index["image"][row].as_py()) == name.encode()


def test_other_teachers_and_other_fields_do_not_become_one(pair, make_toy, tmp_path):
    other = make_toy(path=tmp_path / "third")
    other.keys = [f"y{key}" for key in other.keys]
    other.write(identity={"teachers": {"toy": {"model": "toy", "weights_sha256": "1" * 64}}})
    with pytest.raises(StoreError, match=r"cannot be one store: teachers\.toy\.weights_sha256: '0000"):
        concatenate(tmp_path / "both", [pair[0].path, other.path], print, MADE)


def test_merging_goes_on_where_it_was_stopped(pair, tmp_path, monkeypatch):
    paths = [toy.path for toy in pair]
    concatenate(tmp_path / "whole/both", paths, print, MADE)
    from distillkit.store.writing.writer import StoreWriter

    real = StoreWriter.commit

    def stop(self, shard, *rest):
        if shard == 2:
            raise KeyboardInterrupt
        real(self, shard, *rest)

    monkeypatch.setattr(StoreWriter, "commit", stop)
    with pytest.raises(KeyboardInterrupt):
        concatenate(tmp_path / "both", paths, print, MADE)
    with pytest.raises(StoreError, match="no complete feature store"):
        Manifest.read(tmp_path / "both")
    monkeypatch.undo()
    concatenate(tmp_path / "both", paths, print, MADE)
    assert contents(tmp_path / "both") == contents(tmp_path / "whole/both")


def test_views_are_merged_as_the_rows_they_mean(pair, tmp_path):
    """So a part of a store becomes a store of its own."""
    one, other = (FeatureStore(toy.path) for toy in pair)
    select(one.path, np.array([3, 5, 100]), tmp_path / "view")
    assert not are_parts([tmp_path / "view"])
    concatenate(tmp_path / "both", [tmp_path / "view", other.path], print, MADE)
    both = FeatureStore(tmp_path / "both")
    assert verify(both.path) == [] and both.index["key"].to_pylist()[:4] == ["k0003", "k0005", "k0100", "xk0000"]
    assert both.failed_rows.tolist() == [0, 3, 102] and both.failures()[0]["error"] == "no. 3 is grey"
    assert both.read("image", [1, 2]).equal(one.read("image", [5, 100]))


def test_stores_that_differ_in_a_field_become_one_by_what_both_have(make_toy, tmp_path, run_cli):
    """And the refusal says which store lacks what, and the words that merge the rest."""
    less = {name: field for name, field in FIELDS.items() if name != "toy/text"}
    one = make_toy(path=tmp_path / "one").write()
    other = make_toy(rows=100, path=tmp_path / "other", fields=less, failed=(5,))
    other.keys[10:] = [f"x{key}" for key in other.keys[10:]]
    other.write()
    shared = ",".join(less)
    for pair, lacks in (((one, other), "other"), ((other, one), "other")):
        with pytest.raises(StoreError) as caught:
            concatenate(tmp_path / "both", [toy.path for toy in pair], print, MADE)
        assert str(caught.value) == (
            f"cannot be one store by all their fields: {tmp_path / lacks} lacks toy/text; to merge what all have: "
            f"--fields {shared}; or extract there what it lacks"
        )
    both = tmp_path / "both"
    code, _, err = run_cli("store", "merge", both, one.path, other.path, "--fields", shared)
    assert code == 0 and "10 keys are in more than one store" in err and verify(both) == []
    made, second = FeatureStore(both), FeatureStore(other.path)
    assert set(made.fields) == set(less) and len(made) == 240 and "--fields" in how_again(both)
    keys = other.keys[10:]
    assert made.read("image", made.rows_of(keys)).equal(second.read("image", second.rows_of(keys)))
    again = merge(tmp_path / "short", [one.path, other.path], fields=["image"])
    assert set(again.fields) == {"toy/image"} and set(again.teachers) == {"toy"}
    with pytest.raises(StoreError, match=r"other: has no field 'text', only .*; leave it out of --fields"):
        merge(tmp_path / "no", [one.path, other.path], fields=["image", "text"])


def test_fields_of_one_name_that_differ_are_no_field_that_one_lacks(make_toy, tmp_path):
    one = make_toy(path=tmp_path / "one").write()
    wide = {name: field.model_copy(update={"dtype": "float32"}) for name, field in FIELDS.items() if name != "toy/text"}
    other = make_toy(rows=100, path=tmp_path / "other", fields=wide).write()
    with pytest.raises(StoreError, match=r"cannot be one store: fields\.toy/\w+\.dtype: .* as the other was"):
        concatenate(tmp_path / "both", [one.path, other.path], print, MADE)
