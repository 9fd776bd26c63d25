"""A store whose place another one takes after it was opened: nothing of the other is taken for its own."""

import shutil

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.format import packed
from distillkit.store.format.field import Field
from distillkit.store.reading.reader import FeatureStore


@pytest.mark.parametrize("ask", ["read", "index", "failures"])
def test_what_is_opened_late_is_not_another_stores(toy, make_toy, tmp_path, ask):
    store = FeatureStore(toy.path)
    other = make_toy(path=tmp_path / "other")
    for name, array in other.arrays.items():
        other.arrays[name] = array + array.dtype.type(1)
    other.write()
    toy.path.rename(tmp_path / "aside")
    other.path.rename(toy.path)
    asked = {
        "read": lambda: store.read("patches", np.arange(3)),
        "index": lambda: store.index,
        "failures": lambda: store.failures(),
    }
    with pytest.raises(StoreError, match="another store took its place since it was opened"):
        asked[ask]()
    assert FeatureStore(toy.path).read("patches", np.arange(3)).isfinite().all()


def test_the_same_store_written_again_is_the_same(toy):
    store = FeatureStore(toy.path)
    manifest = toy.path / "manifest.json"
    again = manifest.with_name("again")
    again.write_bytes(manifest.read_bytes())
    again.rename(manifest)
    assert len(store.read("patches", np.arange(3))) == 3 and store.index.num_rows == len(store)


def test_what_was_open_stays_open(toy, tmp_path):
    store = FeatureStore(toy.path)
    before = store.read("patches", np.arange(3))
    toy.path.rename(tmp_path / "aside")
    assert store.read("patches", np.arange(3)).equal(before)


COMPRESSED = {"toy/image": Field(teacher="toy", shape=[16], dtype="float32", compression="zstd")}


def replaced(toy, make_toy, tmp_path):
    """The store at that path, opened and read; then another one of as many rows lies there."""
    toy.write()
    other = make_toy(path=tmp_path / "other", fields=COMPRESSED)
    other.arrays["toy/image"] = other.arrays["toy/image"] + np.float32(1)
    other.write()
    store = FeatureStore(toy.path)
    before = store.read("image", np.arange(4, 64))
    toy.path.rename(tmp_path / "aside")
    other.path.rename(toy.path)
    return store, before


@pytest.fixture
def compressed(make_toy):
    return make_toy(fields=COMPRESSED)


def test_what_is_unpacked_later_is_not_another_stores(compressed, make_toy, tmp_path):
    """Its files are opened at each read: rows of the other came, as after an append or --retry-changed."""
    store, before = replaced(compressed, make_toy, tmp_path)
    rows = store._table("image")
    del store  # whoever holds the table alone reads on
    assert rows.read(np.arange(4, 64)).equal(before)
    assert rows.read(np.arange(64, 130)).count_nonzero()  # a shard that was not read before
    assert not FeatureStore(compressed.path).read("image", np.arange(4, 64)).equal(before)


def test_where_a_folder_cannot_be_held_the_other_store_is_refused(compressed, make_toy, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_OPEN_FILES", tmp_path / "none")
    store, _ = replaced(compressed, make_toy, tmp_path)
    with pytest.raises(StoreError, match="another store took its place since it was opened"):
        store.read("image", np.arange(4, 64))


@pytest.mark.parametrize("what", ["store", "shard"])
def test_what_is_deleted_while_it_is_read_is_not_blank(compressed, what):
    compressed.write()
    store = FeatureStore(compressed.path)
    store.read("image", np.arange(3))
    shutil.rmtree(compressed.path if what == "store" else compressed.path / "toy/image/c/1")
    with pytest.raises(StoreError, match="toy/image/c/1/0 went while it was read"):
        store.read("image", np.arange(64, 128))


@pytest.mark.parametrize("fields", [COMPRESSED, None], ids=["compressed", "plain"])
def test_what_went_before_a_field_was_looked_at_is_told(make_toy, fields):
    toy = make_toy(fields=fields) if fields else make_toy()
    toy.write()
    store = FeatureStore(toy.path)
    shutil.rmtree(toy.path)
    with pytest.raises(StoreError, match="another store took its place"):
        store.read("image", np.arange(3))
