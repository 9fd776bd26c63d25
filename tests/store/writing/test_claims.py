"""Who writes which shard of a store, where the place allows it."""

import pytest

from distillkit.errors import DiskLost
from distillkit.store.writing.claims import Claims
from tests.small_disk import only_read


@pytest.fixture
def lent(tmp_path, monkeypatch):
    """A store on a disk that is mounted to be read."""
    store = tmp_path / "store"
    store.mkdir()
    only_read(monkeypatch, tmp_path)
    return store


def test_a_store_that_can_only_be_read_is_asked_for_no_shard(lent):
    with Claims(lent) as claims, claims.beginning_or_end():
        assert claims.idle()
        assert list(claims.leased([0, 1], lambda shard: True)) == []
        for claim in (claims.take_all, lambda: claims.try_one(0), lambda: claims.leased([0], lambda shard: False)):
            with pytest.raises(DiskLost, match="name another place"):
                claim()


def test_a_store_that_is_not_there_is_refused_at_once(lent):
    with pytest.raises(DiskLost, match="name another place"):
        Claims(lent.with_name("new"))
