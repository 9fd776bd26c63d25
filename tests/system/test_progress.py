"""A long pass over images says how far it is and how long it will take; a short one says nothing."""

from distillkit.system import progress


def test_lines_come_now_and_then_with_what_is_left(monkeypatch):
    clock, said = iter(range(0, 1000, 6)), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with progress.Progress("stores/x: images", 1000, said.append) as bar:
        for _ in range(5):
            bar.advance(200)
    # Every 6 s there are 200 more; a line at most every 10 s, and none when it is done.
    assert said == ["stores/x: images 400/1,000  33/s  18 s left", "stores/x: images 800/1,000  33/s  6 s left"]


def test_nobody_hears_of_a_pass_that_is_over_at_once():
    said = []
    with progress.Progress("x", 10, said.append) as bar:
        bar.advance(10)
    with progress.Progress("x", 10, None) as bar:
        bar.advance(10)
    assert said == []


def test_of_what_nobody_has_counted_it_says_how_many_came(monkeypatch):
    clock, said = iter(range(0, 10_000, 3)), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    assert list(progress.Counted(range(600), "planning, samples", said.append)) == list(range(600))
    assert said == ["planning, samples 192 so far  16/s", "planning, samples 448 so far  19/s"]


def test_what_is_slow_is_told_as_such(monkeypatch):
    clock, said = iter(range(0, 1000, 20)), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with progress.Progress("x", 10, said.append) as bar:
        bar.advance(6)
    assert said == ["x 6/10  0.3/s  13 s left"]


def test_a_line_waits_until_something_is_done(monkeypatch):
    clock, said = iter(range(0, 1000, 20)), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with progress.Progress("x", 10, said.append) as bar:
        bar.advance(0)
    assert said == []


def test_a_range_tells_how_far_it_is_whoever_leaves_it(every_step):
    said = []
    assert list(progress.paced("x: rows", 10, 4, said.append)) == [0, 4, 8]
    assert [line.split()[2] for line in said] == ["4/10", "8/10"]
    for _ in progress.paced("x: rows", 10, 4, said.append):
        break
    assert len(said) == 2
