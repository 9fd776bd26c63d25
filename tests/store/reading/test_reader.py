"""Rows by number and by key, alone and shared between processes."""

import ctypes
import gc
import mmap
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import zarr

from distillkit.store.reading import mapping, table
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.volume import Volume
from tests.store.reading.test_contents import refusal

ROOT = Path(__file__).parents[3]

# Reading.


@pytest.mark.parametrize("name", ["toy/image", "toy/text", "toy/patches"])
def test_the_reader_and_zarr_say_the_same(toy, name):
    store = FeatureStore(toy.path)
    rows = store.read(name, np.arange(150))
    want = zarr.open(toy.path, mode="r")[name][:]
    assert rows.dtype == {"float16": torch.float16, "float32": torch.float32}[str(want.dtype)]
    np.testing.assert_array_equal(rows.numpy(), want)


@pytest.mark.parametrize("rows", [1, 64, 65, 192, 700])
def test_any_number_of_shards_is_one_table(make_toy, rows):
    toy = make_toy(rows=rows, failed=()).write()
    np.testing.assert_array_equal(
        FeatureStore(toy.path).read("image", np.arange(rows)).numpy(), toy.arrays["toy/image"]
    )


def test_rows_come_in_the_order_asked_for_and_may_repeat(toy):
    rows = np.array([149, 0, 64, 63, 0, 128])
    for asked in (rows, torch.from_numpy(rows), rows.tolist()):
        got = FeatureStore(toy.path).read("text", asked).numpy()
        np.testing.assert_array_equal(got[1:], toy.arrays["toy/text"][rows[1:]])
        assert np.isnan(got[0]).all()
    assert FeatureStore(toy.path).read("text", []).shape == (0, 32)


def test_memory_can_be_reused(toy):
    out = torch.empty(2, 32, dtype=torch.float16)
    assert FeatureStore(toy.path).read("image", [5, 6], out=out).data_ptr() == out.data_ptr()
    np.testing.assert_array_equal(out.numpy(), toy.arrays["toy/image"][5:7])


@pytest.mark.parametrize(
    "out",
    [
        torch.empty(3, 32, dtype=torch.float16),
        torch.empty(2, 32),
        torch.empty(2, 64, dtype=torch.float16)[:, ::2],
        torch.empty(64, dtype=torch.float16),
    ],
)
def test_memory_that_does_not_fit_is_refused(toy, out):
    told = refusal(toy.path, lambda store: store.read("image", [5, 6], out=out))
    assert "'toy/image' is read into a contiguous torch.float16 [2, 32] in memory, not into torch.float" in told


@pytest.mark.parametrize("rows", [[150], [-1], [0, 10_000]])
def test_rows_that_are_not_there_are_refused(toy, rows):
    assert "asked for, it has 150" in refusal(toy.path, lambda store: store.read("image", rows))


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (np.ones(150, bool), "bool [150]"),
        ([True, False], "bool [2]"),
        (np.array([0.0, 1.7]), "float64 [2]"),
        (np.zeros((2, 3), int), "int64 [2, 3]"),
        (5, "int64 []"),
    ],
)
def test_what_is_no_list_of_rows_is_refused(toy, rows, what):
    assert f"not {what}; of a mask take np.flatnonzero" in refusal(toy.path, lambda store: store.read("image", rows))


def test_keys_find_their_rows_in_any_order(toy):
    keys = ["k0148", "k0000", "k0064", "k0000"]
    for asked in (keys, pa.array(keys)):
        assert FeatureStore(toy.path).rows_of(asked).tolist() == [148, 0, 64, 0]
    assert FeatureStore(toy.path).rows_of([]).tolist() == []


def test_keys_without_features_are_refused_and_named(toy):
    absent = refusal(toy.path, lambda store: store.rows_of(["k0000", "nobody", "k0003"]))
    assert "no features for 2 of 3 keys, the first is 'nobody': there is no such key; leave them out" in absent
    assert "for 1 of 2 keys, the first is 'k0070'" in refusal(toy.path, lambda store: store.rows_of(["k0000", "k0070"]))


def test_keys_are_found_in_an_index_of_many_files_and_any_order(make_toy):
    toy = make_toy(rows=700, failed=(5,)).write()
    rows = np.random.default_rng(0).permutation(np.delete(np.arange(700), 5))
    store = FeatureStore(toy.path)
    assert store.rows_of([f"k{row:04d}" for row in rows]).tolist() == rows.tolist()
    assert store.values("key", rows[:9]) == [f"k{row:04d}" for row in rows[:9]]
    assert store.values("label", rows[:9]) == rows[:9].tolist() and store.values("text", np.array([], int)) == []


def test_the_index_tells_what_every_row_is(toy):
    store = FeatureStore(toy.path)
    assert store.index.column_names == ["key", "ok", "image", "text", "label"]
    assert store.index["label"].to_pylist() == list(range(150)) and store.index["image"][5].as_py() == "k0005.png"
    assert store.ok_rows.tolist() == [n for n in range(150) if n not in (3, 70, 149)]
    assert store.failed_rows.tolist() == [3, 70, 149]


def test_the_ledger_holds_any_key_and_message(make_toy):
    """Characters that str.splitlines takes for the end of a line are none in JSON lines."""
    toy = make_toy(rows=3, failed=(1,))
    toy.keys[1], toy.failed[1] = "a\u2028b\x85c\td", "é\n\u2029"
    (line,) = FeatureStore(toy.write().path).failures()
    assert line == {"key": "a\u2028b\x85c\td", "stage": "decode", "error": "é\n\u2029"}


# In block-shuffled order.


def test_blocks_give_every_row_that_has_features_once(toy):
    store = FeatureStore(toy.path)
    seen = []
    for rows, features in store.blocks(["image", "patches"], 32, seed=1, epoch=2, pool=64):
        assert features.keys() == {"image", "patches"} and len(rows) == min(32, 147 - len(seen))
        for name, values in features.items():
            np.testing.assert_array_equal(values.numpy(), toy.arrays[f"toy/{name}"][rows])
        seen += rows.tolist()
    assert sorted(seen) == store.ok_rows.tolist() and seen != sorted(seen)
    for seed, epoch, same in ((1, 2, True), (1, 3, False), (2, 2, False)):
        again = [row for rows, _ in store.blocks([], 32, seed=seed, epoch=epoch, pool=64) for row in rows.tolist()]
        assert (again == seen) is same and sorted(again) == sorted(seen)


def test_blocks_that_cannot_be_are_refused(toy):
    assert "batch_size = 0" in refusal(toy.path, lambda store: next(store.blocks(["image"], 0)))
    assert "a pool of 3 rows" in refusal(toy.path, lambda store: next(store.blocks(["image"], 8, pool=3)))
    assert "no field 'cls'" in refusal(toy.path, lambda store: next(store.blocks(["cls"], 8)))


def test_only_what_fits_in_memory_is_read_ahead(toy, monkeypatch):
    asked = []
    monkeypatch.setattr(table, "page_in", lambda rows: asked.append(rows.shape))
    monkeypatch.setattr(mapping, "available_memory", lambda: 4 * 150 * (64 + 128) // 3)
    store = FeatureStore(toy.path)
    assert store.populate(["image", "patches"]) and asked == [(150, 32), (150, 2, 16)]
    assert not store.populate(["image", "patches", "text"]) and len(asked) == 2


def test_a_disk_that_fails_is_told_in_a_line(toy, monkeypatch):
    def fail(rows):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(table, "page_in", fail)
    told = refusal(toy.path, lambda store: store.populate(["image"]))
    assert "rows 0 to 150 of 'toy/image' cannot be read (Input/output error)" in told


def test_threads_that_map_a_field_at_once_have_one_map(toy, monkeypatch):
    both, table = threading.Barrier(2, timeout=30), Volume.table
    monkeypatch.setattr(Volume, "table", lambda *asked: (both.wait(), table(*asked))[1])
    store = FeatureStore(toy.path)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(store._table, ["image", "image"])
    assert one is other


# Sharing between processes.


def test_only_the_path_travels(toy):
    store = FeatureStore(toy.path)
    store.read("image", [0])
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).read("image", [9])[0].numpy(), toy.arrays["toy/image"][9])  # noqa: S301


def _sum_in_child(store, queue):
    rows = np.tile(np.arange(4, 60), 200)  # many enough for several threads
    queue.put(float(store.read("image", rows).double().sum()))


def read_in_a_child(path, method):
    """What a child reads whose parent has read with several threads, which a fork does not copy."""
    torch.set_num_threads(2)
    store = FeatureStore(path)
    store.read("image", np.tile(np.arange(4, 60), 200))  # mapped before the fork
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(store, queue), daemon=True)
    child.start()
    print(queue.get(timeout=60))
    child.join(60)
    assert child.exitcode == 0
    assert np.isfinite(store.read("image", [4]).numpy()).all()  # the child's end took nothing from us


@pytest.mark.long
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_read_the_same_rows(toy, method):
    """In a process of its own: threads that other tests have left may hold a lock at the fork, for ever in a child."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"needs {method}")
    words = (
        f"from tests.store.reading.test_reader import read_in_a_child; read_in_a_child({str(toy.path)!r}, {method!r})"
    )
    ran = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) == pytest.approx(toy.arrays["toy/image"][4:60].astype(np.float64).sum() * 200)


def test_rows_outlive_their_store(toy):
    table = FeatureStore(toy.path).base.table("toy/image").values
    part = table[10:20]
    del table
    gc.collect()
    np.testing.assert_array_equal(part.numpy(), toy.arrays["toy/image"][10:20])


def test_machines_with_larger_pages_read_the_same(toy, monkeypatch):
    """Shards are whole pages of 4 KiB; where pages are of 16 KiB they cannot be mapped back to back."""
    monkeypatch.setattr(mmap, "PAGESIZE", 16_384)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("it was mapped"))
    np.testing.assert_array_equal(
        FeatureStore(toy.path).read("image", [0, 64, 128])[:, 0].numpy(), toy.arrays["toy/image"][[0, 64, 128], 0]
    )


def test_a_mapped_table_is_gone_from_memory_with_its_last_user(toy):
    maps = lambda: open("/proc/self/maps").read().count(str(toy.path))  # noqa: E731, PTH123, SIM115
    try:
        before = maps()
    except OSError:
        pytest.skip("needs /proc")
    store = FeatureStore(toy.path)
    store.read("image", [0])
    assert maps() == before + 3
    del store
    gc.collect()
    assert maps() == before
