"""The whole job on the toy world: arms are trained and measured once, by any number of processes, and judged."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from distillkit.claims.file import Step
from distillkit.claims.results import read_results
from distillkit.claims.run import Remarks, take
from distillkit.errors import TrainError
from distillkit.system.wording import Usual
from distillkit.training.course import Course
from tests.conftest import TRAIN
from tests.records import without_checksum

ROOT = Path(__file__).parents[2]

CLAIMS = """
name = "toy"
title = "Toy"
paper = "https://example.org"
seeds = [0, 1]
set = ["optim.epochs=2.0"]
before = [{{ run = "store view {stores}/texts {folder}/few --rows 0:40", makes = "{folder}/few" }}]
[[evals]]
kind = "retrieval"
name = "all"
store = "{stores}/images"
[[arms]]
name = "student"
recipe = "{folder}/train.toml"
[[arms]]
name = "told"
recipe = "{folder}/train.toml"
baseline = true
[[arms]]
name = "few"
recipe = "{folder}/train.toml"
set = ['data.texts="{folder}/few"']
[[claims]]
text = "Unpaired beats paired"
on = "all.R@1"
better = [["student", "told"]]
[[claims]]
text = "More texts do not hurt at all"
on = "all.R@10"
better = [["student", "few"]]
by = -1.0
across = "texts"
[[claims.curves]]
name = "student"
arms = ["few", "student"]
x = [40.0, 160.0]
[[claims]]
text = "Something for later"
on = "dense.iou"
waits = "no such evaluation"
[quick]
most = {{ "optim.epochs" = 1.0 }}
before = [{{ run = "store view {stores}/texts {folder}/few --rows 0:40", makes = "{folder}/few" }}]
"""


@pytest.fixture
def world(toy_stores, tmp_path, monkeypatch):
    """(file of claims, the words that say where runs and results go)."""
    monkeypatch.chdir(tmp_path)
    places = {"stores": toy_stores / "out", "folder": tmp_path}
    (tmp_path / "train.toml").write_text(TRAIN.format(out=toy_stores / "out").replace("pixel_cache = 32\n", ""))
    (tmp_path / "toy.toml").write_text(CLAIMS.format(**places))
    return tmp_path / "toy.toml", ("--runs", tmp_path / "runs", "--out", tmp_path / "results")


def state(folder):
    kept = ("metrics.jsonl", "student.safetensors", "all.arrow")
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name in kept}


@pytest.mark.long
def test_arms_are_trained_measured_and_judged_and_nothing_is_done_twice(world, run_cli, tmp_path):
    file, words = world
    code, out, err = run_cli("claims", file, *words)
    assert code == 0, err
    assert out.strip() == str(tmp_path / "results/toy.json")
    assert "holds          More texts do not hurt at all" in err and "runs left, about" in err
    found = read_results(tmp_path / "results/toy.json")
    assert [claim.holds for claim in found.claims][1:] == ["holds", "not run yet"]
    assert (found.runs, found.seeds, found.claims[0].items) == (6, 2, 40)
    assert len(found.claims[1].curves[0][1]) == 2
    before, results = state(tmp_path / "runs"), (tmp_path / "results/toy.json").read_bytes()
    assert len([path for path in before if path.name == "student.safetensors"]) == 6
    code, _, err = run_cli("claims", file, *words)
    assert code == 0 and state(tmp_path / "runs") == before, err
    assert (tmp_path / "results/toy.json").read_bytes() == results
    # One run is lost: it alone is made again.
    for name in ("student.json", "student.safetensors"):
        (tmp_path / "runs/toy/few@1" / name).unlink()
    assert run_cli("claims", file, *words)[0] == 0
    after = state(tmp_path / "runs")
    assert {path.parts[-2] for path in after if after[path] != before[path] and path.name.startswith("stud")} == {
        "few@1"
    }


def test_an_arm_whose_recipe_has_changed_is_trained_anew_where_one_says_so(world, run_cli, tmp_path):
    """As the refusal tells: the old run lies beside, and the arms that are as they were are left alone."""
    file, words = world
    assert run_cli("claims", file, *words)[0] == 0
    before = state(tmp_path / "runs")
    file.write_text(file.read_text().replace("set = ['data.texts", "set = ['optim.lr=1e-4', 'data.texts"))
    code, _, err = run_cli("claims", file, *words)
    assert code == 1 and "few@0: is a finished run of 4 steps of another recipe" in err and "add --overwrite" in err
    assert state(tmp_path / "runs") == before
    code, _, err = run_cli("claims", file, *words, "--overwrite")
    assert code == 0, err
    assert len([*(tmp_path / "runs/toy").glob("few@*.before-*")]) == 2
    after = state(tmp_path / "runs")
    changed = {path.parts[-2] for path in before if after.get(path) != before[path] and path.name.startswith("stud")}
    assert changed == {"few@0", "few@1"}


def test_a_signal_says_which_step_of_which_arm_is_kept(world, run_cli, tmp_path, monkeypatch):
    file, words = world
    step = Course.step

    def stop_in_the_third(course, batch, *more):
        step(course, batch, *more)
        if batch.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Course, "step", stop_in_the_third)
    code, _, err = run_cli("claims", file, *words)
    told = "toy student@0: stopped after step 3; its checkpoint is kept, the same command continues"
    assert code == 143 and err.splitlines()[-1] == told
    assert [path.name for path in (tmp_path / "runs/toy/student@0/checkpoints").iterdir()] == ["00000003"]


def test_what_a_single_run_remarks_is_told_once_with_its_arm_and_seed(world, run_cli, tmp_path, monkeypatch):
    """Other packages than it was begun with, and a checkpoint that was damaged, went unheard."""
    file, words = world
    text = file.read_text().replace("seeds = [0, 1]", "seeds = [1]")
    text = text.replace('["optim.epochs=2.0"]', '["optim.epochs=2.0", "checkpoints.every_steps=2"]')
    file.write_text(
        text[: text.index('[[claims]]\ntext = "More')] + text[text.index('[[claims]]\ntext = "Something') :]
    )
    with monkeypatch.context() as patched:
        step = Course.step

        def broken(course, batch, *more):
            step(course, batch, *more)
            if batch.step == 2:
                raise TrainError("broken")

        patched.setattr(Course, "step", broken)
        assert run_cli("claims", file, *words)[0] == 1
    run = tmp_path / "runs/toy/student@1"
    record = json.loads((run / "recipe.json").read_text())
    record["versions"]["torch"] = "0.1"
    (run / "recipe.json").write_text(without_checksum(record))
    *_, kept = sorted((run / "checkpoints").iterdir())
    for part in kept.glob("*.safetensors"):
        part.write_bytes(b"no tensors")
    code, _, err = run_cli("claims", file, *words)
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.startswith("toy ")]
    for remark in ("begun with other packages (torch: '0.1' -> ", f"{kept}: damaged ("):
        (line,) = [line for line in lines if remark in line]
        assert line.startswith("toy student@1: ")
    assert len(lines) == len(set(lines)) and not [line for line in lines if "parameters" in line or "step 1/" in line]


def test_a_remark_on_what_several_runs_read_is_told_of_the_first(tmp_path):
    said, told = [], set()
    for seed in (0, 1):
        recipe = SimpleNamespace(name=f"toy few@{seed}", folder=tmp_path / f"few@{seed}")
        hear = Remarks(SimpleNamespace(recipe=recipe), said.append, told)
        for line in (f"{recipe.folder}: its own", "images: of all", Usual("step 1/9"), f"{recipe.folder}: its own"):
            hear(line)
    assert said == ["toy few@0: its own", "toy few@0: images: of all", "toy few@1: its own"]


@pytest.mark.slow  # two more processes, each with its libraries
def test_processes_share_the_arms(world, tmp_path):
    file, words = world
    command = [sys.executable, "-m", "distillkit", "claims", file, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) for _ in "ab"]
    said = [one.communicate()[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    lines = [line for text in said for line in text.splitlines()]
    trained = [line.split(":")[0] for line in lines if re.match(r"toy \S+: \d+ min ", line)]
    assert sorted(trained) == sorted(f"toy {arm}@{seed}" for arm in ("student", "told", "few") for seed in (0, 1))
    assert not list((tmp_path / "runs/toy").glob("*.before-*"))  # nobody began anew what another had made
    assert read_results(tmp_path / "results/toy.json").runs == 6


def test_a_plan_says_arms_steps_and_time_and_trains_nothing(world, run_cli, tmp_path):
    file, words = world
    code, out, err = run_cli("claims", file, "--plan", *words)
    assert code == 0, err
    assert "Toy: 3 claims, seeds [0, 1]" in out and "distillkit store view" in out
    assert "student  0 of 2 seeds trained; 4 steps, " in out
    assert "few      0 of 2 seeds trained; cannot be probed yet: " in out and "and 1 arm that cannot be probed" in out
    assert not (tmp_path / "runs").exists()


def test_a_quick_look_lies_beside_the_results(world, run_cli, tmp_path):
    file, words = world
    code, out, err = run_cli("claims", file, "--quick", *words)
    assert code == 0, err
    assert out.strip() == str(tmp_path / "runs/toy_quick.json") and not (tmp_path / "results").exists()
    assert read_results(tmp_path / "runs/toy_quick.json").quick


def test_a_step_that_fails_is_one_line_with_its_reason(world, run_cli):
    file, words = world
    file.write_text(file.read_text().replace("--rows 0:40", "--rows x"))
    code, _, err = run_cli("claims", file, *words)
    assert code == 1 and "Traceback" not in err
    assert "distillkit store view" in err.splitlines()[-1] and "write --rows as" in err.splitlines()[-1]


@pytest.mark.parametrize("content", ["", "[]", '{"name": 3}', json.dumps({"claims": [1]})])
def test_what_is_no_result_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(TrainError, match=r"x\.json: no results of distillkit claims"):
        read_results(tmp_path / "x.json")


def test_a_step_before_keeps_what_it_has_when_the_command_is_stopped(tmp_path, monkeypatch):
    """An extraction finishes its shard: it is asked once, by us alone, and waited for."""
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, time\n"
        "def stopped(number, frame):\n"
        f"    print(number, file=open({str(log)!r}, 'a'), flush=True)\n"
        "    time.sleep(0.3)\n"
        f"    print('kept', file=open({str(log)!r}, 'a'), flush=True)\n"
        "    raise SystemExit(143)\n"
        "signal.signal(signal.SIGTERM, stopped)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"  # as Ctrl-C reaches both
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(60)\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(KeyboardInterrupt):
        take(Step(run="extract-teacher photos.toml"), lambda line: None)
    assert log.read_text() == "15\nkept\n"
