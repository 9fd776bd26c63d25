"""Processes that help: their answers in order, their errors in the parent, and none left when it is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distillkit.errors import DistillkitError, SourceError
from distillkit.system import workers
from distillkit.system.workers import by_processes, cores


def _squared(number, sign):
    return sign * number * number, os.getpid()


def _refused(number):
    if number == 70:
        raise SourceError(f"{number}: cannot be drawn")


def _died(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("limit", "allowed"), [("max 100000", 8), ("150000 100000", 2), ("10000 100000", 1), ("", 8)])
def test_a_container_allows_fewer_cores(tmp_path, monkeypatch, limit, allowed):
    if limit:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(workers, "_CONTAINER", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert cores() == allowed and isinstance(cores(), int)


def test_answers_come_in_order_from_other_processes():
    found = list(by_processes(_squared, range(200), [-1] * 200))
    assert [answer for answer, _ in found] == [-number * number for number in range(200)]
    assert os.getpid() not in {process for _, process in found} and len({process for _, process in found}) <= cores()


def test_an_error_of_one_is_raised_as_it_is():
    with pytest.raises(SourceError, match=r"^70: cannot be drawn$"):
        list(by_processes(_refused, range(200)))


def test_one_that_is_killed_is_told_in_a_line():
    with pytest.raises(DistillkitError, match="a process that helped died"):
        list(by_processes(_died, range(3)))


def test_none_outlives_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(
        "import time\n"
        "from distillkit.system.workers import by_processes\n"
        "from tests.system.test_workers import _squared\n"
        "if __name__ == '__main__':\n"
        "    working = by_processes(_squared, range(200), range(200))\n"
        "    print(next(working)[1], flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        helper = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20
    while time.monotonic() < until and _runs(helper):
        time.sleep(0.05)
    assert not _runs(helper)


def _runs(process):
    """A helper that ended and that nobody waits for runs no more."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
