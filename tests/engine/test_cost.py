"""What a run says while it goes."""

import pytest

from distillkit.engine import cost
from distillkit.engine.cost import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    return now


def test_a_line_for_each_shard_and_now_and_then_within(clock):
    said = []
    progress = Progress("images", 1000, 5, said.append)
    clock[0] = 10.0
    progress.within(0, 100, 1, 2.0)
    assert said == []
    clock[0] = 40.0
    progress.within(0, 160, 2, 10.0)
    assert said == ["images: shard 1/5, 4 rows/s, 25% waiting for data, 2 failed, 0:03:30 left"]
    clock[0] = 50.0
    progress.finished({"shard": 0, "rows": 200, "failed": 2, "wait_share": 0.2})
    assert said[1:] == ["images: shard 1/5, 4 rows/s, 20% waiting for data, 2 failed, 0:03:20 left"]
    clock[0] = 100.0
    progress.finished({"shard": 1, "rows": 600, "failed": 0, "wait_share": 0.0})
    assert said[2:] == ["images: shard 2/5, 8 rows/s, 0% waiting for data, 0 failed, 0:00:25 left"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (190_000, "2 d 4:46:40")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
