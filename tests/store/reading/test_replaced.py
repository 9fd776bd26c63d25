"""A store whose place another one takes after it was opened: nothing of the other is taken for its own."""

import numpy as np
import pytest

from distillkit.errors import StoreError
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
