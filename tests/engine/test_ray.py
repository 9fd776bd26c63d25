"""The Ray engine makes the stores of the local one, byte for byte, whoever dies on the way."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from distillkit.store.manifest import Manifest
from distillkit.store.verify import verify

pytest.importorskip("ray.data")

MAIN = "from distillkit.cli import main; main()"


def command(recipe, *settings):
    overrides = [argument for setting in ("ray.most=1", *settings) for argument in ("--set", setting)]
    return [sys.executable, "-c", MAIN, "extract-teacher", str(recipe), "--engine", "ray", *overrides]


def files(store):
    paths = (path for path in store.rglob("*") if path.is_file() and path.name != "extract.jsonl")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def images(recipes, run_cli, tmp_path):
    """The toy recipe with its images alone, extracted by the local engine into tmp_path/local."""
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])
    assert run_cli("extract-teacher", recipes[0], "--set", f'out="{tmp_path}/local"')[0] == 0
    return recipes[0]


def test_it_makes_the_store_of_the_local_engine_byte_for_byte(images, tmp_path):
    """Failures in the ledger, two shards, one actor of one CPU."""
    done = subprocess.run(command(images), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.split() == [str(tmp_path / "out/images")]
    assert files(tmp_path / "out/images") == files(tmp_path / "local/images") != {}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".images.lock", "images"]
    assert "images: shard 2/2" in done.stderr and "complete, 70 rows" in done.stderr


@pytest.mark.slow
def test_what_goes_wrong_on_a_worker_is_one_line(images, tmp_path):
    recipe = images.read_text().replace("local-dir:", "local-dir:no/")
    images.write_text(recipe)
    done = subprocess.run(command(images), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: on a Ray worker: local-dir:no/")
    done = subprocess.run(command(images, 'ray.address="auto"'), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "no Ray cluster answers there" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_runs_and_workers_killed_at_any_instant_leave_the_same_store(recipes, run_cli, tmp_path):
    """Of each two kills one hits the run itself, one a worker, which Ray replaces: 25 kills."""
    assert run_cli("extract-teacher", recipes[0], "--set", f'out="{tmp_path}/local"')[0] == 0
    want = {name: files(tmp_path / "local" / name) for name in ("images", "texts")}
    started = time.monotonic()
    subprocess.run(command(recipes[0], f'out="{tmp_path}/once"'), check=True, capture_output=True, timeout=600)
    whole_time, draw, kills = time.monotonic() - started, random.Random(0), 0
    while kills < 25:
        run = subprocess.Popen(command(recipes[0]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        victim, deadline = kills % 2, time.monotonic() + draw.random() * whole_time
        while run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        kills += _kill(run, worker=bool(victim))
        if victim:
            assert run.wait(600) == 0
        run.wait(600)
        if all((tmp_path / "out" / name / "manifest.json").is_file() for name in want):
            assert all(verify(tmp_path / "out" / name) == [] for name in want)
            assert {name: files(tmp_path / "out" / name) for name in want} == want
            shutil.rmtree(tmp_path / "out")
    subprocess.run(command(recipes[0]), check=True, capture_output=True, timeout=600)
    assert {name: files(tmp_path / "out" / name) for name in want} == want
    assert Manifest.read(tmp_path / "out/images").digest == Manifest.read(tmp_path / "local/images").digest


def _kill(run, worker):
    """kill -9 of the run, or of one of its workers; whether there was anything to kill."""
    if not worker:
        alive = run.poll() is None
        run.kill()
        return alive
    try:
        below = psutil.Process(run.pid).children(recursive=True)
        workers = [process for process in below if any("MapWorker" in word for word in process.cmdline())]
        for process in workers[:1]:
            os.kill(process.pid, signal.SIGKILL)
        return bool(workers)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
