"""Where there is no terminal, a run says now and then how far it is and how long it will go on."""

from pathlib import Path

import torch

from distillkit.training import progress


class Quiet:
    """A run folder and trackers that keep nothing."""

    path = Path("runs/small")

    def __init__(self):
        self.lines = []

    def history(self):
        return []

    def log(self, line):
        self.lines.append(line)

    def close(self, error=None):
        pass


def test_a_line_tells_the_time_that_is_left(monkeypatch):
    clock, said, run = [0.0], [], Quiet()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    knobs = {"batch_size": 8, "say": said.append, "trackers": Quiet(), "device": torch.device("cpu")}
    with progress.Progress(run, first=0, last=100, **knobs) as told:
        for step in (50, 100):
            clock[0] += 200
            told.log(step, step / 10, 1e-3, {"affinity": 0.5}, waited=0.0)
    assert said[0].startswith("step 50/100  affinity 0.5000  ") and said[0].endswith("  3 min left")
    assert said[1].startswith("step 100/100  ") and "left" not in said[1]
    assert [line["images_per_second"] for line in run.lines] == [2.0, 2.0]


def test_of_several_students_each_line_says_whose_it_is(monkeypatch):
    said = []
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    knobs = {"batch_size": 8, "say": said.append, "trackers": Quiet(), "device": torch.device("cpu")}
    for shown in (True, False):
        with progress.Progress(Quiet(), first=0, last=10, shown=shown, name="small: ", **knobs) as told:
            told.log(10, 1.0, 1e-3, {"affinity": 0.5}, waited=0.0)
    assert [line.partition("  ")[0] for line in said] == ["small: step 10/10"] * 2
