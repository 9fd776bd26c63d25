"""Memory that is asked for first: never more than the limit, but for one alone, and in the order of asking."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from distillkit.system.budget import Budget


def test_never_more_than_the_limit_at_once():
    budget, lock, held, most = Budget(lambda: 10), threading.Lock(), [0], [0]

    def work(size):
        with budget.holding(size):
            with lock:
                held[0] += size
                most[0] = max(most[0], held[0])
            time.sleep(0.001)
            with lock:
                held[0] -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 1, 2, 5] * 20))
    assert held[0] == 0 and 5 <= most[0] <= 10


def test_more_than_the_limit_goes_alone():
    budget, alone = Budget(lambda: 10), []
    with ThreadPoolExecutor(4) as pool:

        def work(size):
            with budget.holding(size):
                alone.append(budget._held)
                time.sleep(0.002)

        list(pool.map(work, [50, 1, 60, 2, 70]))
    assert {50, 60, 70} <= set(alone)


def test_a_large_one_is_not_passed_by_small_ones_for_ever():
    budget, order = Budget(lambda: 10), []
    budget.take(6)
    threads = []
    for size in (9, 1):

        def work(size=size):
            with budget.holding(size):
                order.append(size)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        while budget._tickets < 1 + len(threads):
            time.sleep(0.001)
    budget.give(6)
    for thread in threads:
        thread.join()
    assert order == [9, 1]


def test_several_processes_let_one_be_large_at_a_time():
    """The lock is what they share; here two budgets stand for two processes."""
    alone = threading.Lock()
    one, other = Budget(lambda: 10, alone), Budget(lambda: 10, alone)
    with one.holding(50):
        waiting = threading.Thread(target=lambda: other.holding(60).__enter__())
        waiting.start()
        with other.holding(5):
            pass  # what fits its share waits for nobody
        assert waiting.is_alive() and other._held == 0
    waiting.join(5)
    assert not waiting.is_alive()
