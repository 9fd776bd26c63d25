"""Ray's workers train what one process trains, and go on when one of them dies."""

import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from distillkit.errors import TrainError
from distillkit.recipe.training import RayWorkers
from distillkit.training.ray import _needs
from tests.training.test_ranks import losses, recipe  # noqa: F401

pytest.importorskip("ray.train")

MAIN = "from distillkit.cli import main; main()"


def command(recipe, *settings):  # noqa: F811
    knobs = [word for setting in ("ray.workers=2", "ray.cpus=1.0", *settings) for word in ("--set", setting)]
    return [sys.executable, "-c", MAIN, "train-student", str(recipe), "--engine", "ray", *knobs]


@pytest.mark.slow
def test_two_workers_train_what_one_process_trains(recipe, run_cli, tmp_path):  # noqa: F811
    knobs = ("log.every_steps=1", "ray.cpus=1.0")
    one = [word for knob in (*knobs, f'out="{tmp_path}/one"') for word in ("--set", knob)]
    assert run_cli("train-student", recipe, *one)[0] == 0
    done = subprocess.run(command(recipe, *knobs), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.split() == [str(tmp_path / "out/run")]
    assert "2 processes" in done.stderr and "trained 12 steps" in done.stderr
    for part in ("", "baseline"):
        assert torch.allclose(losses(tmp_path / "one" / part), losses(tmp_path / "out/run" / part), rtol=1e-4)
    assert not list((tmp_path / "out").glob(".*.ray"))
    again = subprocess.run(command(recipe, *knobs), capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "already trained" in again.stderr


@pytest.mark.slow
def test_a_dead_worker_is_replaced_and_the_run_goes_on(recipe, tmp_path):  # noqa: F811
    knobs = ("optim.epochs=30.0", "checkpoints.every_steps=1")
    run = subprocess.Popen(command(recipe, *knobs), stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "out/run"
    while run.poll() is None and not list(folder.glob("checkpoints/*[0-9]")):
        time.sleep(0.05)
    below = psutil.Process(run.pid).children(recursive=True)
    workers = [one for one in below if any("RayTrainWorker" in word for word in one.cmdline())]
    assert len(workers) == 2, [one.cmdline() for one in below]
    workers[-1].kill()
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert "a worker died; all begin again from the last checkpoint" in err and "continuing after step" in err
    assert (folder / "student.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_step_in_hand_with_a_checkpoint(recipe, tmp_path, number, code):  # noqa: F811
    knobs = ("optim.epochs=300.0", "checkpoints.every_steps=100000", "log.every_steps=1")
    run = subprocess.Popen(command(recipe, *knobs), stderr=subprocess.PIPE, text=True, start_new_session=True)
    folder = tmp_path / "out/run"
    while run.poll() is None and not (folder / "metrics.jsonl").is_file():
        time.sleep(0.05)
    # A terminal sends Ctrl-C to all of its processes, Slurm sends SIGTERM to the command.
    os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
    _, err = run.communicate(timeout=300)
    assert run.returncode == code and "Traceback" not in err, err
    last = err.splitlines()[-1]
    step = int(re.fullmatch(r"stopped after step (\d+); its checkpoint is kept, the same command continues", last)[1])
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"{step:08d}"]
    assert not list((tmp_path / "out").glob(".*.ray"))
    shorter = command(recipe, *knobs[1:], "optim.epochs=300.0", "ray.workers=1")
    again = subprocess.Popen(shorter, stderr=subprocess.PIPE, text=True)
    told = next(line for line in again.stderr if "continuing after step" in line)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=300)
    assert f"continuing after step {step}" in told and again.returncode == 143


@pytest.mark.slow
def test_what_a_worker_refuses_ends_the_job_in_one_line(recipe, tmp_path):  # noqa: F811
    done = subprocess.run(command(recipe, "data.batch_size=15"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not (tmp_path / "out/run").exists()
    assert done.stderr.splitlines()[-1].startswith(
        "error: on a Ray worker: 2 processes cannot share data.batch_size = 15"
    )
    assert "begin again" not in done.stderr
    done = subprocess.run(command(recipe, "ray.cpus=4000.0"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "ray.workers = 2 take 4000 CPU each, and there are" in done.stderr.splitlines()[-1]


def test_ray_train_that_is_not_installed_is_told(recipes, run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train", None)
    code, _, err = run_cli("train-student", recipes[1], "--engine", "ray")
    assert code == 1 and err.endswith('error: ray is not installed; run: pip install "distillkit[ray]"\n')


def test_a_live_teacher_stays_at_home(recipes, run_cli, teacher_folder):
    text = (
        recipes[1]
        .read_text()
        .replace("[student]", f'[teacher]\nkind="openclip"\nmodel="local-dir:{teacher_folder}"\n[student]')
    )
    recipes[1].write_text(text)
    code, _, err = run_cli("train-student", recipes[1], "--engine", "ray", "--set", 'data.source="live"')
    assert code == 1 and "a live teacher does not travel to Ray's workers" in err.splitlines()[-1]


def test_workers_of_a_run_do_not_share_a_gpu():
    """NCCL cannot, and says so at length, or hangs."""
    ray = SimpleNamespace(cluster_resources=lambda: {"GPU": 4.0, "CPU": 8.0})
    with pytest.raises(
        TrainError, match=r"^ray\.gpus = 0\.5: workers of one run cannot share a GPU; set ray\.gpus = 1"
    ):
        _needs(ray, RayWorkers(workers=2, gpus=0.5), pytest.fail)
    assert _needs(ray, RayWorkers(workers=2, gpus=1.0), pytest.fail)["GPU"] == 1
