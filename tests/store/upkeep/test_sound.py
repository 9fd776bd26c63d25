"""A flipped byte is never copied: the copy would have a checksum of its own, and nobody could tell any more."""

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import local
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.steps import Steps
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.export import export
from distillkit.store.upkeep.parts import assemble
from distillkit.store.upkeep.sound import lost
from distillkit.store.upkeep.verify import verify
from tests.store.upkeep.test_verify import flip

SHARD = ("toy/image/c/1/0", "toy/patches/c/1/0/0", "index/00001.arrow", "failures/00001.jsonl")
FORMS = ("npy", "arrow", "parquet", "webdataset")


def merged(store, out):
    concatenate(out, [store], lambda line: None, {})


def merged_view(store, out):
    """Of a view of rows in the second shard alone."""
    select(store, np.arange(70, 90), store.with_name("view"))
    concatenate(out, [store.with_name("view")], lambda line: None, {})


def exported(form):
    return lambda store, out: export(FeatureStore(store), out, form)


@pytest.mark.parametrize("name", [*SHARD, "manifest.json", "plan.json"])
@pytest.mark.parametrize("copied", [merged, merged_view, *map(exported, FORMS)])
def test_what_is_not_as_it_was_written_is_named_and_nothing_is_made(toy, tmp_path, name, copied):
    path = toy.path / name
    if name.endswith(".json"):
        path.write_bytes(path.read_bytes() + b"\n")  # read as before, but not as it was written
    else:
        flip(path, 5)
    (told,) = {line.partition(": ")[0] for line in verify(toy.path)}
    with pytest.raises(StoreError) as refused:
        copied(toy.path, tmp_path / "copies/out")
    assert str(refused.value).startswith(f"{path}: ") and str(path) == told
    cure = {"plan.json": "take it from a copy", "manifest.json": "delete it, and run"}.get(name, "delete that file")
    assert f"nothing was copied; {cure}" in str(refused.value)
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("copied", [merged_view, exported("npy")])
def test_what_is_not_copied_may_be_as_it_will(toy, tmp_path, copied):
    for name in ("toy/image/c/0/0", "index/00000.arrow", "toy/patches/c/2/0/0"):
        flip(toy.path / name, 5)
    select(toy.path, np.arange(70, 90), tmp_path / "some")
    copied(toy.path if copied is merged_view else tmp_path / "some", tmp_path / "out")


def test_fields_that_are_left_out_may_be_as_they_will(toy, tmp_path):
    flip(toy.path / "toy/patches/c/1/0/0", 5)
    concatenate(tmp_path / "out", [toy.path], lambda line: None, {}, fields=["image", "text"])
    assert verify(tmp_path / "out") == []


def test_steps_are_looked_at_too(make_toy, tmp_path):
    """They are written anew in whatever is made of a store with an int8 field."""
    fields = {"toy/image": Field(teacher="toy", shape=[64], dtype="int8")}
    toy = make_toy(fields=fields)
    writer = toy.writer()
    writer.steps = {"toy/image": Steps.of(torch.randn(9, 64))}
    writer.begin()
    for shard in range(writer.shards):
        toy.commit(writer, shard)
    writer.finish({})
    path = toy.path / "toy/image.steps/c/0/0"
    flip(path, 0)
    for copied in (merged, exported("npy"), lambda store, out: assemble(out, [store], lambda line: None, {})):
        with pytest.raises(StoreError, match=rf"^{path}: sha256"):
            copied(toy.path, tmp_path / "copies/out")
    assert not (tmp_path / "copies").exists()


def test_shards_that_lost_files_are_told_apart(toy):
    assert lost(toy.path, Manifest.read(toy.path)) == []
    (toy.path / "index/00000.arrow").unlink()
    (toy.path / "toy/text/c/2/0").write_bytes(b"short")
    assert lost(toy.path, Manifest.read(toy.path)) == [0, 2]


def test_of_a_store_behind_a_url_what_came_before_is_looked_at(make_toy, tmp_path, s3, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    toy = make_toy(path=tmp_path / "store").write()
    s3.bucket.put(str(toy.path), "corpora/store", recursive=True)
    here = local("s3://corpora/store")
    store = FeatureStore(here)
    store.read("image", np.arange(len(store)))
    flip(here / "toy/image/c/1/0", 5)
    with pytest.raises(StoreError, match=r"toy/image/c/1/0: not as it came; .* it is fetched again"):
        concatenate(tmp_path / "out", [here], lambda line: None, {})
    (here / "toy/image/c/1/0").unlink()
    concatenate(tmp_path / "out", [here], lambda line: None, {})
    assert verify(tmp_path / "out") == []
