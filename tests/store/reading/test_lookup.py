"""Keys to rows without a table of all keys."""

import pyarrow as pa

from distillkit.store.reading.lookup import find

# As long as anything lives that it has allocated.
POOL = pa.proxy_memory_pool(pa.default_memory_pool())
KEYS = pa.chunked_array([["a", "b"], [], ["c", "d", "é"]])


def test_rows_in_the_order_asked_for():
    assert find(pa.array(["é", "a", "nobody", "d", "a"]), KEYS).tolist() == [4, 0, -1, 3, 0]


def test_nothing_wanted_and_nothing_there():
    assert find(pa.array([], pa.string()), KEYS).tolist() == []
    assert find(pa.array(["a"]), pa.chunked_array([], pa.string())).tolist() == [-1]


def test_memory_is_four_bytes_a_key():
    """The keys themselves are not copied, and no table of them is made."""
    keys = pa.chunked_array([[f"a-rather-long-key-of-an-image/{n:010d}.jpg" for n in range(50_000)]] * 4)
    pa.set_memory_pool(POOL)
    try:
        found = find(pa.array(["a-rather-long-key-of-an-image/0000049999.jpg"]), keys)
    finally:
        pa.set_memory_pool(pa.default_memory_pool())
    assert found.tolist() == [199_999]
    assert POOL.max_memory() < 12 * len(keys) < keys.nbytes / 3
