"""Two processes that evaluate one run at one moment: each by evals of its own, or both by some of one name."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from distillkit.evaluate import evaluate
from distillkit.evaluation.turn import in_turn
from distillkit.train import train
from tests.at_once import Pair
from tests.faults.training_jobs import RUN, Trained, quiet

ROUNDS = 6
EVAL = '[[evals]]\nkind = "tests.faults.world:Near"\nstore = "{images}"\nname = "{name}"\n'


def runs(root):
    return [root / f"runs/{number}" for number in range(ROUNDS)]


def asks(which, number, root):
    heard = []
    evaluate(runs(root)[number], heard.append, evals=root / f"{which if number % 3 else f'same-{which}'}.toml")
    return "ok"


@pytest.fixture
def root(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    job = Trained()
    job.prepare(disk)
    train(job.asked(disk), quiet)
    for run in runs(tmp_path):
        shutil.copytree(disk / RUN, run)
    shutil.copytree(job.world / "images", job.world / "others")
    for which, store in enumerate(("images", "others")):
        (tmp_path / f"{which}.toml").write_text(EVAL.format(images=job.world / store, name=f"near {which}"))
        (tmp_path / f"same-{which}.toml").write_text(EVAL.format(images=job.world / store, name="near"))
    return tmp_path


def test_nothing_that_either_found_is_lost(root):
    pair = Pair(asks, ROUNDS, root)
    try:
        for number, run in enumerate(runs(root)):
            assert pair.round() == ["ok", "ok"]
            record = json.loads((run / "evaluation.json").read_bytes())
            found = {"near"} if number % 3 == 0 else {"near 0", "near 1"}
            assert found <= record["results"].keys() and found <= record["evals"].keys()
            kept = [json.loads(path.read_bytes()) for path in (run / "evaluation").glob("*.json")]
            made_of = {one["name"]: one["made_of"]["stores"] for one in kept}
            for name in found:  # what is kept is what the numbers were made of
                assert made_of[name] == record["evals"][name]["stores"]
            assert (run / "evaluated.json").is_file()
            for which in (0, 1) if number % 3 else ():
                heard = []
                evaluate(run, heard.append, evals=root / f"{which}.toml")
                assert "nothing to do" in heard[-1]
            page = (run / "report.html").read_text()
            assert all(name in page for name in found)
    finally:
        pair.close()
    assert not [*root.rglob("*.partial"), *root.rglob(".*.evaluation.lock")]


def test_who_waits_says_so_in_one_line(tmp_path):
    heard, done = [], threading.Event()

    def second():
        with in_turn(tmp_path / "run", heard.append):
            done.set()

    with in_turn(tmp_path / "run", heard.append):
        thread = threading.Thread(target=second)
        thread.start()
        until = time.monotonic() + 60
        while not heard and time.monotonic() < until:
            time.sleep(0.01)
        assert not done.is_set()
    thread.join(60)
    assert done.is_set() and heard == [f"{tmp_path / 'run'}: another evaluation writes its results; waiting"]


def test_the_folder_one_is_in_has_a_turn_as_well(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with in_turn(Path(), quiet):
        assert (tmp_path / ".run.evaluation.lock").is_file()
