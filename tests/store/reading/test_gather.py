"""Rows by several threads that never wait for one that has not begun."""

import threading

import numpy as np
import pytest
import torch

from distillkit.store.reading import gather as module
from distillkit.store.reading.gather import gather


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(1,), (3,), (700,), (4, 96), (2, 3, 5)])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_rows_come_in_the_order_asked_for(two_threads, dtype, shape, count):
    table = torch.randint(0, 200, (300, *shape)).to(dtype)
    rows = np.random.default_rng(0).integers(300, size=count)
    out = torch.empty(count, *shape, dtype=dtype)
    assert gather(table, rows, out) is out and torch.equal(out, table[torch.from_numpy(rows)])


def test_a_helper_that_does_not_come_is_not_waited_for(two_threads):
    """Where other processes have the cores, a thread may begin long after the caller has done the work."""
    table, rows = torch.randn(300, 700), np.arange(5000) % 300
    free = threading.Event()
    busy = [module._helpers.submit(free.wait, 60) for _ in range(module._helpers._max_workers)]
    try:
        out = gather(table, rows, torch.empty(5000, 700))
        assert torch.equal(out, table[torch.from_numpy(rows)])
    finally:
        free.set()
    assert all(one.result() for one in busy)


def test_several_readers_at_once(two_threads):
    table = torch.randn(300, 700)
    rows = [np.random.default_rng(seed).integers(300, size=3000) for seed in range(4)]
    out = [torch.empty(3000, 700) for _ in rows]
    threads = [threading.Thread(target=gather, args=(table, *pair)) for pair in zip(rows, out, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(got, table[torch.from_numpy(asked)]) for asked, got in zip(rows, out, strict=True))


def test_one_thread_asks_nobody(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(module, "_helpers", None)
    assert gather(torch.eye(3), np.array([2]), torch.empty(1, 3)).tolist() == [[0, 0, 1]]
