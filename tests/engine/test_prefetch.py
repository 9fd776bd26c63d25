"""The next item is made while this one is in use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distillkit.engine.prefetch import prefetched


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_items_come_in_order_and_one_ahead(thread):
    made, waiting = [], threading.Event()

    def items():
        for number in range(4):
            made.append(number)
            yield number
        waiting.set()

    taken = prefetched(items(), thread)
    assert next(taken) == 0
    thread.submit(lambda: None).result()  # whatever was asked of the thread is done by now
    assert made == [0, 1] and not waiting.is_set()
    assert list(taken) == [1, 2, 3]
    assert list(prefetched(iter([]), thread)) == []


def test_an_error_comes_in_its_place(thread):
    def items():
        yield 1
        raise ValueError("bad")

    taken = prefetched(items(), thread)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="bad"):
        next(taken)
