"""Images made ready ahead of time: the same from threads and processes, in order, and never too many."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from distillkit.engine.decoding import decoded
from distillkit.engine.sight import Seen, Sight
from distillkit.errors import DistillkitError, SourceError
from distillkit.recipe import Component, RandAugment, Views
from tests.teachers.test_preprocess import KINDS

VIEWS = Views(count=3, flip=0.5, randaugment=RandAugment())


@pytest.fixture
def sight(corpus):
    for number in (3, 4, 30):
        (corpus / f"images/{number:03d}.png").write_bytes(b"no image")
    folder = Component(kind="folder", root=str(corpus))
    return Sight(folder, {"clip": KINDS["shortest"][0], "dino": KINDS["bilinear"][0]}, VIEWS)


ROWS = [(f"key {n}", f"images/{n:03d}.png") for n in range(70)]


def outcomes(sight, rows=ROWS, **options):
    with decoded(sight, rows, **({"kind": "threads", "workers": 2, "ahead": 8} | options)) as made:
        return list(made)


@pytest.mark.long
def test_processes_see_what_threads_see_bit_for_bit(sight):
    rows = [*ROWS, ("no image", None)]
    ours, files = outcomes(sight, rows), psutil.Process().num_fds()
    theirs = outcomes(sight, rows, kind="processes")
    assert psutil.Process().num_fds() <= files + 1  # the tracker of such processes stays
    assert len(ours) == len(theirs) == 71 and "the sample has no image" in str(ours[-1])
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert isinstance(one, SourceError) == isinstance(other, SourceError) == (number in (3, 4, 30, 70))
        if isinstance(one, SourceError):
            assert str(one) == str(other)
            continue
        assert [pixels.shape for pixels in one.pixels] == [(3, 3, 32, 32)] * 2
        assert all(torch.equal(a, b) for a, b in zip(one.pixels, other.pixels, strict=True))
        np.testing.assert_array_equal(one.parameters, other.parameters)


def test_the_order_is_that_of_the_rows_whoever_is_slow(sight, monkeypatch):
    def slow_first(self, key, location):
        time.sleep(0.02 if int(key.split()[1]) % 3 == 0 else 0)
        return Seen((), np.array([int(key.split()[1])]))

    monkeypatch.setattr(Sight, "__call__", slow_first)
    assert [seen.parameters[0] for seen in outcomes(sight, workers=5)] == list(range(70))


def test_no_more_is_made_than_asked_for(sight, monkeypatch):
    lock, made = threading.Lock(), []

    def look(self, key, location):
        with lock:
            made.append(key)
        return Seen((), None)

    monkeypatch.setattr(Sight, "__call__", look)
    with decoded(sight, ROWS, kind="threads", workers=2, ahead=8) as waiting:
        next(waiting)
        time.sleep(0.1)
        assert len(made) <= 9
    assert len(made) <= 9  # the rest was never begun


def test_a_worker_that_dies_is_one_line(sight):
    """As when the system kills it for its memory."""
    with (
        pytest.raises(DistillkitError, match="a decoding process died, most likely for want of memory") as caught,
        decoded(sight, ROWS * 100, kind="processes", workers=1, ahead=8) as waiting,
    ):
        for number, _ in enumerate(waiting):
            if number == 3:
                (child,) = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
                child.kill()
    assert "\n" not in str(caught.value)


def test_ctrl_c_waits_for_no_worker_that_still_imports(sight, tmp_path, monkeypatch):
    """Torch, for seconds; they are no part of what is finished before the command ends."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif '--multiprocessing-fork' in sys.orig_argv: time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    began = time.monotonic()
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), decoded(sight, ROWS, kind="processes", workers=2, ahead=8) as waiting:
        next(waiting)
    assert time.monotonic() - began < 30
    assert [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())] == []


@pytest.mark.long
def test_workers_do_not_outlive_a_killed_parent(corpus):
    code = f"""
import os, signal, psutil
from distillkit.engine.decoding import decoded
from distillkit.engine.sight import Sight
from distillkit.recipe import Component
from tests.teachers.test_preprocess import KINDS
if __name__ == "__main__":
    sight = Sight(Component(kind="folder", root={str(corpus)!r}), {{"clip": KINDS["shortest"][0]}})
    rows = [("a", "images/000.png")] * 1000
    with decoded(sight, rows, kind="processes", workers=2, ahead=8) as waiting:
        next(waiting)
        print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) >= 1 and not any(map(psutil.pid_exists, pids))
