"""A report is of the stores that were measured, or of none."""

from types import SimpleNamespace

import pytest

from distillkit.errors import StoreError
from distillkit.evaluation.replaced import none_replaced
from distillkit.store.reading.reader import FeatureStore
from tests.store.conftest import toy_at


@pytest.mark.parametrize(("error", "told"), [(KeyError, StoreError), (SystemExit, SystemExit)])
def test_what_went_wrong_in_another_store_is_told_by_the_store_but_a_stop_is_a_stop(tmp_path, error, told):
    store = toy_at(tmp_path / "toy").write().path
    asked = [SimpleNamespace(stores={str(store): FeatureStore(store).digest})]
    with none_replaced(asked, None):
        pass
    with pytest.raises(told), none_replaced(asked, None):
        store.rename(tmp_path / "aside")
        raise error
