"""Processes that help: their answers in order, their errors in the parent, and none left when it is gone."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from distillkit.errors import DistillkitError, SourceError
from distillkit.system import workers
from distillkit.system.workers import _no_script, by_processes, cores


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


def _of_script(folder, text, *first):
    """What a script says that runs as a user's does, whose modules lie in `first` before all others."""
    (folder / "script.py").write_text(text)
    words = [sys.executable, folder / "script.py"]
    paths = [*first, Path(__file__).parents[2], *sys.path[1:]]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(words, capture_output=True, text=True, env=surroundings, timeout=120, check=False)


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    """As a notebook that was saved as a script: each process trained all over again, and died."""
    done = _of_script(
        tmp_path,
        "print('begun', flush=True)\n"
        "from distillkit.system.workers import by_processes\n"
        "from tests.system.test_workers import _squared\n"
        "print([answer for answer, _ in by_processes(_squared, [1, 2, 3], [1, 1, 1])])\n",
    )
    assert done.returncode == 0 and done.stdout == "begun\n[1, 4, 9]\n", done.stderr


def test_what_a_guarded_script_defines_reaches_its_processes(tmp_path):
    done = _of_script(
        tmp_path,
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from distillkit.system.workers import Apart\n"
        "class Own: number = 3\n"
        "def keep(own): global kept; kept = own.number\n"
        "def tell(own): return own.number + kept\n"
        "if __name__ == '__main__':\n"
        "    print(ProcessPoolExecutor(1, Apart(), keep, (Own(),)).submit(tell, Own()).result())\n",
    )
    assert done.returncode == 0 and done.stdout == "6\n", done.stderr


def test_other_threads_of_a_script_have_it_while_a_process_begins(monkeypatch):
    """Else what they pickle for processes of their own is not found."""
    main, seen = ModuleType("__main__"), []
    main.__file__ = "train_all.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    with _no_script():
        assert not hasattr(sys.modules["__main__"], "__file__")
        thread = threading.Thread(target=lambda: seen.append(sys.modules["__main__"].__file__))
        thread.start()
        thread.join()
    assert seen == [main.__file__] and sys.modules["__main__"] is main


def test_every_process_of_ours_begins_so():
    files = (Path(__file__).parents[2] / "distillkit").rglob("*.py")
    assert [file.name for file in files if "get_context(" in file.read_text()] == []


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


def test_ctrl_c_while_a_process_of_ours_begins_is_left_to_its_parent(tmp_path):
    """It imports torch for seconds, and Ctrl-C reaches all processes of a terminal: each printed a traceback."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if '--multiprocessing-fork' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    done = _of_script(
        tmp_path,
        "import os, signal\n"
        "from distillkit.system.workers import by_processes\n"
        "from tests.system.test_workers import _squared\n"
        "print([answer for answer, _ in by_processes(_squared, [1, 2, 3], [1, 1, 1])])\n"
        "os.kill(os.getpid(), signal.SIGINT)\n",
        tmp_path,
    )
    assert done.stdout == "[1, 4, 9]\n" and done.stderr.count("Traceback") == 1, done.stderr
    assert done.returncode == -signal.SIGINT  # the parent hears of it as ever


def test_every_process_of_ours_that_helps_leaves_signals_to_its_parent():
    package = Path(__file__).parents[2] / "distillkit"
    for file in package.rglob("*.py"):
        for made in re.findall(r"ProcessPoolExecutor\((.*)\)\n", file.read_text()):
            assert re.search(r"\b(begin_worker|_begin)\b", made), f"{file}: {made}"
