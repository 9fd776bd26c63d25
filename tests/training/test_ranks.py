"""Two processes train what one trains: same losses, same student; a dead one ends the job; another number continues."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
import torch

from distillkit.runfolder import device_of
from distillkit.training.ranks import Ranks

# Batch norm looks at its own rank's images alone, so the student is one without it.
STUDENT = """
[student]
kind = "timm_image"
model = "vit_tiny_patch16_224"
image_size = 32
embed_dim = 32
options = { depth = 2, embed_dim = 64, num_heads = 2 }
"""


@pytest.fixture
def recipe(recipes, run_cli):
    """A training recipe over extracted toy stores: pairs of images and captions, merged, and unpaired texts."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    text = recipes[1].read_text()
    before, after = text.split("[student]")
    recipes[1].write_text(before + STUDENT + after[after.index("[[losses]]") :].replace("epochs = 6", "epochs = 3"))
    return recipes[1]


def torchrun(count, *arguments, **environment):
    """The command of docs/training.md, as processes of this environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(port)]
    return subprocess.Popen(
        [*run, "-m", "distillkit", "train-student", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [name for name in lines[0] if name not in ("images_per_second", "wait_share", "seconds", "memory_gb")]
    return torch.tensor([[line[name] for name in names] for line in lines])


def test_two_processes_train_what_one_trains(recipe, run_cli, tmp_path):
    knobs = ("--set", "log.every_steps=1")
    assert run_cli("train-student", recipe, *knobs, "--set", f'out="{tmp_path}/one"')[0] == 0
    process = torchrun(2, recipe, *knobs, "--set", f'out="{tmp_path}/two"')
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "2 processes" in err, err
    for part in ("", "baseline"):  # unpaired texts, then captions that several images share
        one, two = tmp_path / "one" / part, tmp_path / "two" / part
        assert torch.allclose(losses(one), losses(two), rtol=1e-4)


def test_another_number_of_processes_continues_the_same_curve(recipe, run_cli, tmp_path):
    assert run_cli("train-student", recipe, "--set", f'out="{tmp_path}/one"')[0] == 0
    process = torchrun(2, recipe, "--set", "optim.epochs=3.0", "--set", "checkpoints.every_steps=1")
    run = tmp_path / "out/run"
    while process.poll() is None and not list(run.glob("checkpoints/*[0-9]")):
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    assert not (run / "student.json").is_file()
    code, _, err = run_cli("train-student", recipe)
    assert code == 0 and "continuing after step" in err
    assert torch.allclose(losses(tmp_path / "one"), losses(run), rtol=1e-4)


def test_a_dead_process_ends_the_job_and_the_next_one_continues(recipe, run_cli, tmp_path):
    long = ("--set", "optim.epochs=20.0", "--set", "checkpoints.every_steps=1")
    process = torchrun(2, recipe, *long)
    run = tmp_path / "out/run"
    while process.poll() is None and not list(run.glob("checkpoints/*[0-9]")):
        time.sleep(0.05)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[-1]), 9)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "SIGKILL" in err and not (run / "student.json").is_file()
    code, _, err = run_cli("train-student", recipe, *long)
    assert code == 0 and "continuing after step" in err


def test_a_batch_that_cannot_be_shared_is_refused(recipe, tmp_path):
    process = torchrun(2, recipe, "--set", "data.batch_size=15")
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and not (tmp_path / "out/run").exists()
    assert "error: 2 processes cannot share data.batch_size = 15; make it a multiple" in err


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_cover_a_batch_once(world):
    rows = torch.arange(20)
    assert torch.cat([rows[Ranks(rank, world).span(20)] for rank in range(world)]).tolist() == list(range(20))


def test_every_process_of_a_machine_has_its_own_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert device_of("auto") == torch.device("cuda:0") and device_of("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of("auto") == torch.device("cuda:3") and device_of("cuda:1") == torch.device("cuda:1")
    assert chosen == [torch.device("cuda", number) for number in (0, 3, 1)]
