"""Stores in a bucket that are read through a small cache: shards come as they are needed, and go, never one in use."""

import fcntl
import multiprocessing
import os
import shutil
import threading
import time

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.bucket import cache
from distillkit.store.bucket.remote import local
from distillkit.store.format.field import Field
from distillkit.store.reading import blocks
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.remote import Remote
from tests.store.conftest import toy_at

URL = "s3://streams/store"
SHARD = 64 * 64 + 16 + 4  # of toy/image: rows, and an index of one chunk
FAILED, GOOD = (3, 70, 1279), np.delete(np.arange(1280), [3, 70, 1279])
FIELDS = {
    "toy/image": Field(teacher="toy", shape=[32], dtype="float16"),
    "toy/patches": Field(teacher="toy", shape=[2, 16], dtype="float32", compression="zstd"),
}
linux = pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux")  # noqa: PTH110


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/remote"


@pytest.fixture(scope="module")
def toys(tmp_path_factory, s3_server):
    """A store of 20 shards of 64 rows, put into a bucket once for all tests here, which only read it."""
    import s3fs

    with pytest.MonkeyPatch.context() as environment:
        named = (("AWS_ENDPOINT_URL", s3_server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"))
        for name, value in (*named, ("AWS_DEFAULT_REGION", "us-east-1")):
            environment.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        bucket.mkdir("streams")
        here = tmp_path_factory.mktemp("toy") / "store"
        toy = toy_at(here, rows=1280, failed=FAILED, fields=FIELDS).write()
        shutil.rmtree(here / "commits")  # readers do without
        bucket.put(str(here), "streams/", recursive=True)
        yield toy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def there(toys):
    """What was put there; of it, nothing is here."""
    return toys


@pytest.fixture
def room(monkeypatch):
    """Give the cache room for so many shards, and for the index that is read before."""

    def give(shards, more=0):
        monkeypatch.setenv(cache.VARIABLE, f"{(shards * SHARD + more) / 1e6} MB")

    return give


@pytest.fixture
def fetched(monkeypatch):
    """The names of what is fetched."""
    names, real = [], Remote.copy
    monkeypatch.setattr(Remote, "copy", lambda self, name, file: names.append(name) or real(self, name, file))
    return names


def kept():
    # Nobody makes room meanwhile: a file that has gone and the one that comes in its place would both be counted.
    with cache.locked(cache.folder() / ".room.lock"):
        return sum(size for _, size, _ in cache._files())


def shards_here(store, field="toy/image"):
    return sorted(int(path.parent.name) for path in (store.path / field / "c").glob("*/0"))


def test_few_rows_bring_the_shards_that_hold_them_and_no_other(there, fetched):
    store = FeatureStore(URL)
    rows = np.array([1200, 130, 1201, 131])
    np.testing.assert_array_equal(store.read("image", rows).numpy(), there.arrays["toy/image"][rows])
    assert sorted(fetched) == ["toy/image/c/18/0", "toy/image/c/2/0"]
    assert store.values("key", rows) == [there.keys[row] for row in rows]
    assert store.failed_rows.tolist() == list(FAILED)
    assert sorted(fetched[2:]) == [f"index/{shard:05d}.arrow" for shard in (0, 1, 2, 18, 19)]
    store.read("image", rows)
    assert len(fetched) == 7 and len(store.index) == 1280


def test_an_epoch_in_blocks_brings_every_shard_once_into_a_cache_that_has_a_part(there, room, fetched, monkeypatch):
    monkeypatch.setattr(blocks, "_SHARDS", 3)
    _ = FeatureStore(URL).failed_rows  # the index of the shards with failures is here, and counts
    room(12, more=kept())
    store, seen, most = FeatureStore(URL), [], 0
    for batch, features in store.blocks(["image"], 50, seed=1, pool=128):
        np.testing.assert_array_equal(features["image"].numpy(), there.arrays["toy/image"][batch])
        seen += batch.tolist()
        most = max(most, kept())
    assert sorted(seen) == GOOD.tolist()
    assert most <= cache.limit()
    shards = [name for name in fetched if name.startswith("toy/image")]
    assert len(shards) == len(set(shards)) == 20


def test_what_is_read_at_once_may_be_more_than_the_cache_has(there, room, fetched):
    room(5)
    store = FeatureStore(URL)
    order = np.random.default_rng(0).permutation(GOOD)
    np.testing.assert_array_equal(store.read("image", order).numpy(), there.arrays["toy/image"][order])
    np.testing.assert_array_equal(store.read("patches", order[:99]).numpy(), there.arrays["toy/patches"][order[:99]])
    assert kept() <= cache.limit() and len(shards_here(store)) < 5
    with pytest.raises(StoreError, match=r'image are 82,320 bytes, the cache may have 20,580; .*order = "blocks"'):
        store.populate(["image"])


def test_what_was_used_least_recently_goes_first(there, room, fetched):
    room(4)
    store = FeatureStore(URL)
    for shard in (0, 1, 2, 3, 1, 0, 7):
        store.read("image", [shard * 64 + 9])
        time.sleep(0.01)
    assert shards_here(store) == [0, 1, 3, 7]
    assert len(fetched) == 5


@linux
def test_what_is_mapped_stays_on_the_disk_and_no_longer(there, room):
    store = FeatureStore(URL)
    store.read("image", [9])
    path = store.path / "toy/image/c/0/0"

    def free():
        with path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    assert not free() and not cache._gone(path)
    table = store._table("image")
    with table.coming.reading([0]):
        assert not table.coming.give_back()  # somebody reads it
    assert not free() and table.coming.give_back() and free()
    np.testing.assert_array_equal(store.read("image", [9]).numpy(), there.arrays["toy/image"][[9]])
    assert not free()


def _read_in_child(url, field, rows, results):
    store = FeatureStore(url)
    results.put([float(store.read(field, [row]).double().sum()) for row in rows])
    time.sleep(1000)


def test_another_process_keeps_what_it_uses(there, room, monkeypatch):
    """It has two of three shards mapped; the third is all there is for us, and a fourth that we need at once is not."""
    room(3)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(URL, "image", [9, 73], results), daemon=True)
    child.start()
    try:
        assert results.get(timeout=60) == pytest.approx(
            [there.arrays["toy/image"][row].astype("f8").sum() for row in (9, 73)]
        )
        store = FeatureStore(URL)
        for row in (200, 300, 400):
            np.testing.assert_array_equal(store.read("image", [row]).numpy(), there.arrays["toy/image"][[row]])
        assert shards_here(store) == [0, 1, 6]
        monkeypatch.setattr(cache, "_PATIENCE", 1)
        with (
            store._table("image").coming.reading([6]),
            pytest.raises(
                StoreError, match=r"no room for a file of [0-9,]+ bytes; .* set DISTILLKIT_CACHE_SIZE higher"
            ),
        ):
            store.read("patches", [9])
    finally:
        child.kill()
        child.join()
    assert np.isfinite(store.read("patches", [9]).numpy()).all()  # what the dead used is free


def test_many_threads_share_a_small_cache(there, room):
    room(9)
    store, problems = FeatureStore(URL), []

    def work(seed):
        random = np.random.default_rng(seed)
        try:
            for _ in range(6):
                rows = random.choice(GOOD, 3)
                for field in ("image", "patches"):
                    np.testing.assert_array_equal(
                        store.read(field, rows).numpy(), there.arrays[f"toy/{field}"][rows], strict=True
                    )
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and kept() <= cache.limit()


def test_a_child_after_a_fork_reads_on(there, room):
    room(8)
    store = FeatureStore(URL)
    store.read("image", [9])
    with store._table("image").coming.reading([0]):  # as a thread might at that instant
        child = os.fork()
        if child == 0:
            rows = np.array([9, 700, 1250])
            same = np.array_equal(store.read("image", rows).numpy(), there.arrays["toy/image"][rows])
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_shard_that_was_cut_short_here_is_named(there):
    store = FeatureStore(URL)
    store.read("image", [9])
    os.truncate(store.path / "toy/image/c/0/0", 100)
    with pytest.raises(StoreError, match=r"toy/image/c/0/0 has 100 bytes instead of 4116; remove it"):
        FeatureStore(URL).read("image", [9])


@pytest.mark.parametrize("said", ["much", "12", "-3GB"])
def test_sizes_that_are_none_are_refused(there, monkeypatch, said):
    monkeypatch.setenv(cache.VARIABLE, said)
    with pytest.raises(StoreError, match=rf"DISTILLKIT_CACHE_SIZE={said}: write a size such as 8GiB or 500MB"):
        FeatureStore(URL).read("image", [9])


def test_without_a_size_the_cache_takes_half_of_what_is_free(folder, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    disk = shutil.disk_usage(folder.parent.parent)
    assert cache.limit() == pytest.approx(disk.free / 2, rel=0.05)
    assert cache.limit(kept=disk.free) == pytest.approx(disk.free, rel=0.05)


def test_what_a_killed_process_had_begun_to_fetch_goes_too(there, room):
    place = local(URL)
    leftover = place / f"toy/patches/c/0/0/0{cache.ARRIVING}"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(bytes(3 * SHARD))
    room(4)
    FeatureStore(URL).read("image", [9, 73])
    assert not leftover.exists() and (place / "manifest.json").is_file()
