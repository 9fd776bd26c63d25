"""Shards mapped back to back, in pages as large as the system has them."""

import errno

import numpy as np
import pytest
import torch

from distillkit.store.reading import mapping

linux = pytest.mark.skipif(not mapping._LINUX, reason="needs Linux")


@pytest.fixture
def files(tmp_path):
    """Three shards of 3 pages, the last of 2 and a half, each with 4 bytes behind."""
    rows = np.random.default_rng(0).integers(256, size=(8 * 4096 + 2048) // 32 * 32, dtype=np.uint8)
    paths = []
    for number, first in enumerate(range(0, len(rows), 3 * 4096)):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(rows[first : first + 3 * 4096].tobytes() + b"tail")
    return paths, rows


def mapped(files):
    paths, rows = files
    return mapping.map_back_to_back(paths, 3 * 4096, len(rows))


def test_they_are_one_array(files):
    table = mapped(files)
    np.testing.assert_array_equal(table, files[1])
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


@linux
def test_it_begins_where_a_large_page_can(files):
    assert mapped(files).ctypes.data % (2 << 20) == 0


@linux
@pytest.mark.parametrize(("memory", "advice"), [(1 << 30, 14), (1000, 1)])
def test_what_does_not_fit_in_memory_is_read_by_single_pages(files, monkeypatch, memory, advice):
    given = []
    libc = mapping._libc()
    monkeypatch.setattr(mapping, "available_memory", lambda: memory)
    monkeypatch.setattr(mapping, "_libc", lambda: libc)
    monkeypatch.setattr(libc, "madvise", lambda at, length, what: given.append(what) or 0)
    mapped(files)
    assert given == [advice] * 3


@pytest.mark.parametrize("older", [False, True])
def test_any_run_of_rows_can_be_paged_in(files, monkeypatch, older):
    if older:
        monkeypatch.setattr(mapping, "_LINUX", False)
    table = torch.from_numpy(mapped(files).copy().view(np.float16).reshape(-1, 16))
    for run in (table, table[1:2], table[100:901], table[:0]):
        mapping.page_in(run)


@linux
def test_a_disk_that_fails_is_an_error_and_no_signal(files, monkeypatch):
    """The kernel says EFAULT where touching the page would raise SIGBUS; here behind the end of a file cut short."""
    table = mapped(files)
    files[0][1].write_bytes(b"")
    with pytest.raises(OSError, match="Bad address") as caught:
        mapping.page_in(torch.from_numpy(table.view(np.float16).reshape(-1, 16)))
    assert caught.value.errno == errno.EFAULT
