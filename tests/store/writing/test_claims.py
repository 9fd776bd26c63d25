"""Who writes which shard of a store, where the place allows it."""

import errno
import os

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


@pytest.fixture
def of_another(tmp_path, monkeypatch):
    """Another user's store, in a folder that all may write, such as that of a group."""
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / ".store.lock").touch()
    refuse(monkeypatch, tmp_path / ".store.lock")
    monkeypatch.setattr("distillkit.store.writing.claims.may_write", lambda path: path != store)
    return store


def refuse(monkeypatch, lock):
    opened = type(lock).open

    def open_(path, *words, **more):
        if path == lock:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *words, **more)

    monkeypatch.setattr(type(lock), "open", open_)


def test_a_store_of_another_user_is_left_alone_and_not_moved(of_another):
    with Claims(of_another) as claims, claims.beginning_or_end():
        assert claims.idle()
        assert list(claims.leased([0, 1], lambda shard: True)) == []
        for claim in (claims.take_all, lambda: claims.try_one(0), claims.refuse_moving):
            with pytest.raises(PermissionError, match=r"\.store\.lock"):
                claim()


def test_a_store_that_can_be_written_needs_its_lock(of_another, monkeypatch):
    monkeypatch.setattr("distillkit.store.writing.claims.may_write", lambda path: True)
    with pytest.raises(PermissionError, match=r"\.store\.lock"):
        Claims(of_another)
