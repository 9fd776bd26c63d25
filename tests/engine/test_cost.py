"""What a run says while it goes."""

import pytest

from distillkit.engine import cost
from distillkit.engine.cost import Cost, Progress, duration


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    return now


def test_a_line_for_each_shard_and_now_and_then_within_tells_of_the_whole_run(clock):
    said = []
    progress = Progress("images", 1000, 5, said.append)
    progress.within(0, 100, 1, Cost(wait=2.0))
    assert said == []
    first = Cost()
    clock[0] = 40.0
    first.wait = 10.0
    progress.within(0, 160, 2, first)
    assert said == ["images: shard 1/5, 4 rows/s, 25% waiting for data, 2 failed, 0:03:30 left"]
    clock[0] = 50.0
    progress.finished({"shard": 0, "rows": 200, "failed": 2, "seconds": 50.0, "wait_share": 0.2})
    assert said[1:] == ["images: shard 1/5, 4 rows/s, 20% waiting for data, 2 failed, 0:03:20 left"]
    second = Cost()
    clock[0] = 100.0
    second.wait = 20.0
    progress.within(1, 200, 1, second)
    assert said[2:] == ["images: shard 2/5, 4 rows/s, 30% waiting for data, 3 failed, 0:02:30 left"]
    progress.finished({"shard": 1, "rows": 600, "failed": 1, "seconds": 50.0, "wait_share": 0.0})
    assert said[3:] == ["images: shard 2/5, 8 rows/s, 10% waiting for data, 3 failed, 0:00:25 left"]


def test_of_two_passes_the_time_of_the_second_is_told_when_it_is_known(clock):
    """Images went fast and texts slowly: at the last image a line once said that nothing was left."""
    said = []
    progress = Progress("pairs", 200, 2, said.append, ("image", "text"))

    def at(second, shard, what, rows, started=0.0):
        clock[0] = second
        cost = Cost()
        cost.started = started
        progress.within(shard, rows, 1, cost, what, of=100)

    at(50.0, 0, "image", 50)
    assert said.pop() == (
        "pairs: shard 1/2, images at 1 row/s, 0% waiting for data, 1 failed, 0:02:30 left, and the texts, which come "
        "behind"
    )
    at(100.0, 0, "image", 100), at(140.0, 0, "text", 20)  # two seconds each
    assert said[1:] == [
        "pairs: shard 1/2, texts at 0.5 rows/s, 0% waiting for data, 1 failed, 0:07:40 left"  # 80 x 2, 100 x (1 + 2)
    ]
    at(300.0, 0, "text", 100)
    progress.finished({"shard": 0, "rows": 100, "failed": 1, "seconds": 300.0, "wait_share": 0.0})
    assert said[-1] == "pairs: shard 1/2, 0.33 rows/s, 0% waiting for data, 1 failed, 0:05:00 left"
    at(350.0, 1, "image", 50, started=300.0)
    assert said[-1] == "pairs: shard 2/2, images at 1 row/s, 0% waiting for data, 2 failed, 0:04:10 left"


def test_time_of_an_earlier_run_slows_nobody_down(clock):
    said = []
    progress = Progress("pairs", 100, 1, said.append, ("image", "text"))
    clock[0], cost = 20.0, Cost()
    cost.started = -500.0  # of the shard that was kept
    progress.within(0, 20, 0, cost, "image", of=100)
    assert "images at 1 row/s" in said[0] and "0:01:20 left" in said[0]


def test_ten_seconds_within_a_shard_are_the_longest_without_a_line(clock):
    said = []
    progress = Progress("images", 1000, 1, said.append)
    for clock[0] in (9.0, 10.5, 20.0, 21.0):
        progress.within(0, 100, 0, Cost(started=0.0))
    assert [line.rpartition(", ")[2] for line in said] == ["0:01:34 left", "0:03:09 left"]


def test_the_share_of_waiting_is_one_of_all_workers_time(clock):
    said = []
    progress = Progress("images", 800, 4, said.append)
    clock[0] = 10.0
    for number in range(4):  # at the same time, each half of its ten seconds
        progress.finished({"shard": number, "rows": 200, "failed": 0, "seconds": 10.0, "wait_share": 0.5})
    assert all("50% waiting for data" in line for line in said)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (190_000, "2 d 4:46:40")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
