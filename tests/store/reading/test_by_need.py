"""Stores of more shards than a process may map: their rows are read all the same; and shards that cannot be."""

import ctypes
import errno
import os
import re
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading import mapping, volume
from distillkit.store.reading.by_need import ByNeed
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import arrow
from tests.store.conftest import toy_at

linux = pytest.mark.skipif(not mapping._LINUX, reason="needs Linux")
ROWS = 64 * 20 + 7
REAL = mapping._libc


@pytest.fixture
def many(tmp_path, monkeypatch):
    """21 shards, where a process may map fewer."""
    monkeypatch.setattr(mapping, "_FEW", 0)
    monkeypatch.setattr(mapping, "most_maps", lambda: 10)
    return toy_at(tmp_path / "store", ROWS, failed=()).write()


def maps_of(place):
    return Path("/proc/self/maps").read_text().count(f"{place}/toy/")


class Libc:
    """The system's, but that a file is mapped only where `refuse`, asked for each, says no errno."""

    def __init__(self, refuse):
        self._libc, self._refuse = REAL(), refuse
        self.munmap, self.madvise = self._libc.munmap, self._libc.madvise

    def mmap(self, at, length, allowed, flags, file, offset):
        number = self._refuse() if file != -1 else 0
        if number:
            ctypes.set_errno(number)
            return mapping._FAILED
        return self._libc.mmap(at, length, allowed, flags, file, offset)


@linux
@pytest.mark.parametrize("field", ["toy/image", "toy/text", "toy/patches"])
def test_rows_in_any_order_are_those_that_were_stored_and_few_shards_are_mapped(many, field):
    store, random = FeatureStore(many.path), np.random.default_rng(0)
    for rows in (np.array([3]), np.arange(ROWS), random.permutation(ROWS), random.integers(ROWS, size=5000)):
        np.testing.assert_array_equal(store.read(field, rows).numpy(), many.arrays[field][rows])
        assert maps_of(many.path) <= 4
    assert isinstance(store._table(field).coming, ByNeed)


@linux
def test_blocks_populating_and_threads_read_them_too(many):
    store = FeatureStore(many.path)
    assert store.populate(["toy/image"])
    seen = [
        rows for rows, told in store.blocks(["toy/image"], 100, pool=256) if told["toy/image"].shape == (len(rows), 32)
    ]
    assert sorted(np.concatenate(seen).tolist()) == list(range(ROWS))
    wrong = []

    def work(seed):
        for _ in range(20):
            rows = np.random.default_rng(seed).integers(ROWS, size=300)
            if not np.array_equal(store.read("toy/image", rows).numpy(), many.arrays["toy/image"][rows]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and maps_of(many.path) <= 4 + 4


@linux
def test_a_child_after_a_fork_reads_on(many):
    store = FeatureStore(many.path)
    store.read("toy/image", [9])
    with store._table("toy/image").coming.reading([0]), store._table("toy/image").coming._lock:
        child = os.fork()
        if child == 0:
            rows = np.arange(0, ROWS, 50)
            same = np.array_equal(store.read("toy/image", rows).numpy(), many.arrays["toy/image"][rows])
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@linux
def test_a_shard_that_went_and_a_store_that_another_replaced_are_told(many, tmp_path):
    store = FeatureStore(many.path)
    store.read("toy/image", [0])
    (many.path / "toy/image/c/7/0").unlink()
    with pytest.raises(StoreError, match=r"toy/image/c/7/0 is missing; run: distillkit store verify"):
        store.read("toy/image", [7 * 64])
    np.testing.assert_array_equal(store.read("toy/image", [64]).numpy(), many.arrays["toy/image"][[64]])
    many.path.rename(tmp_path / "aside")
    other = toy_at(many.path, ROWS, failed=(1,)).write()
    for _ in range(2):
        with pytest.raises(StoreError, match="another store took its place since it was opened"):
            store.read("toy/image", [20 * 64])
    assert len(FeatureStore(other.path)) == ROWS


@linux
def test_where_the_system_maps_no_more_of_them_they_are_mapped_by_need(tmp_path, monkeypatch):
    toy, asked = toy_at(tmp_path / "store", ROWS, failed=()).write(), []
    monkeypatch.setattr(mapping, "_libc", lambda: Libc(lambda: asked.append(1) or (len(asked) == 9 and errno.ENOMEM)))
    rows = np.random.default_rng(0).permutation(ROWS)
    store = FeatureStore(toy.path)
    np.testing.assert_array_equal(store.read("toy/image", rows).numpy(), toy.arrays["toy/image"][rows])
    assert isinstance(store._table("toy/image").coming, ByNeed)


def test_few_shards_are_mapped_without_a_question(toy, monkeypatch):
    monkeypatch.setattr(mapping, "maps_left", lambda: pytest.fail("it was asked"))
    store = FeatureStore(toy.path)
    store.read("toy/image", [0])
    assert store._table("toy/image").coming is None


@linux
@pytest.mark.parametrize(
    "number",
    [*mapping._HELP, errno.ENOMEM, errno.EOVERFLOW, errno.EBADF, errno.ENXIO],
    ids=lambda number: errno.errorcode[number],
)
def test_whatever_the_system_says_the_line_tells_what_to_do(toy, monkeypatch, number):
    monkeypatch.setattr(mapping, "_libc", lambda: Libc(lambda: number))
    with pytest.raises(StoreError) as caught:
        FeatureStore(toy.path).read("toy/image", [0])
    told = str(caught.value)
    assert told.startswith(
        f"{toy.path}/toy/image/c/0/0: cannot be mapped into memory ({os.strerror(number).lower()}); "
    )
    assert re.search(r"; .*(run|raise|copy|let|end|look) ", told) and "\n" not in told


@linux
def test_a_signal_that_interrupts_is_no_refusal(toy, monkeypatch):
    asked = []
    monkeypatch.setattr(mapping, "_libc", lambda: Libc(lambda: asked.append(1) or (len(asked) % 3 and errno.EINTR)))
    np.testing.assert_array_equal(FeatureStore(toy.path).read("toy/image", [0]).numpy(), toy.arrays["toy/image"][[0]])


@linux
def test_address_space_that_cannot_be_had_is_told_with_what_to_do(monkeypatch):
    with pytest.raises(StoreError, match=r"cannot reserve \d+ bytes of address space \(.*\); raise ulimit -v"):
        mapping.Window(4096, 1 << 62)


@pytest.mark.parametrize("refused", [False, True])
def test_an_index_of_more_files_than_may_be_mapped_is_read(make_toy, monkeypatch, refused):
    toy = make_toy(ROWS, failed=(70,)).write()
    mapped = []

    def memory_map(path, real=pa.memory_map):
        mapped.append(path)
        if refused and len(mapped) > 2:
            raise OSError(errno.ENOMEM, "Memory mapping file failed")
        return real(path)

    monkeypatch.setattr(arrow.pa, "memory_map", memory_map)
    if not refused:
        monkeypatch.setattr(volume, "MAPPED", 2)
    store = FeatureStore(toy.path)
    assert store.values("key", np.arange(ROWS)) == toy.keys == store.index["key"].to_pylist()
    assert store.rows_of([toy.keys[500]]).tolist() == [500] and len(store.ok_rows) == ROWS - 1
    assert refused or len(mapped) == 2
