"""Two processes train what one trains: same losses, same student; a dead one ends the job; another number continues."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from distillkit.errors import TrainError
from distillkit.runfolder import RunFolder
from distillkit.training import ranks
from distillkit.training.ranks import Ranks
from distillkit.training.reproducer import replay

# Batch norm looks at its own rank's images alone, so the student is one without it.
STUDENT = """
[student]
kind = "timm_image"
model = "vit_tiny_patch16_224"
image_size = 32
embed_dim = 32
options = { depth = 2, embed_dim = 64, num_heads = 2 }
"""

TRACKER = """
from types import SimpleNamespace
def tell(word):
    with open("{file}", "a") as file:
        file.write(word + "\\n")
def init(**facts):
    tell("begun")
    return SimpleNamespace(log=lambda numbers, step: tell(str(step)), finish=lambda: tell("ended"), name=facts["name"])
"""


@pytest.fixture
def recipe(recipes, run_cli):
    """A training recipe over extracted toy stores: pairs of images and captions, merged, and unpaired texts."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    text = recipes[1].read_text()
    before, after = text.split("[student]")
    recipes[1].write_text(before + STUDENT + after[after.index("[[losses]]") :].replace("epochs = 6", "epochs = 3"))
    return recipes[1]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def torchrun(count, *arguments, flags=(), **environment):
    """The command of docs/training.md, as processes of this environment."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", free_port()]
    return subprocess.Popen(
        [*run, *flags, "-m", "distillkit", "train-student", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def until_a_checkpoint(run, *processes):
    while all(process.poll() is None for process in processes) and not list(run.glob("checkpoints/*[0-9]")):
        time.sleep(0.05)


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [name for name in lines[0] if name not in ("images_per_second", "wait_share", "seconds", "memory_gb")]
    return torch.tensor([[line[name] for name in names] for line in lines])


@pytest.mark.long
def test_two_processes_train_what_one_trains(recipe, run_cli, tmp_path):
    measured = f'validation={{eval={{kind="retrieval",store="{tmp_path}/out/images"}},every_steps=6,best="R@5"}}'
    knobs = ("--set", "log.every_steps=1", "--set", measured)
    assert run_cli("train-student", recipe, *knobs, "--set", f'out="{tmp_path}/one"')[0] == 0
    process = torchrun(2, recipe, *knobs, "--set", f'out="{tmp_path}/two"')
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "2 processes" in err, err
    for part in ("", "baseline"):  # unpaired texts, then captions that several images share
        one, two = tmp_path / "one" / part, tmp_path / "two" / part
        assert torch.allclose(losses(one), losses(two), rtol=1e-4)
        # Each looks at a half of the images that are measured; the first one writes.
        found = [
            [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()] for run in (one, two)
        ]
        assert [line["step"] for line in found[1]] == [line["step"] for line in found[0]] == [6, 12]
        assert [line["R@5"] for line in found[1]] == pytest.approx([line["R@5"] for line in found[0]], abs=0.03)


@pytest.mark.long
def test_another_number_of_processes_continues_the_same_curve(recipe, run_cli, tmp_path):
    assert run_cli("train-student", recipe, "--set", f'out="{tmp_path}/one"')[0] == 0
    process = torchrun(2, recipe, "--set", "optim.epochs=3.0", "--set", "checkpoints.every_steps=1")
    run = tmp_path / "out/run"
    until_a_checkpoint(run, process)
    process.terminate()
    process.communicate(timeout=60)
    assert not (run / "student.json").is_file()
    code, _, err = run_cli("train-student", recipe)
    assert code == 0 and "continuing after step" in err
    assert torch.allclose(losses(tmp_path / "one"), losses(run), rtol=1e-4)


@pytest.mark.long
def test_a_dead_process_ends_the_job_and_the_next_one_continues(recipe, run_cli, tmp_path):
    long = ("--set", "optim.epochs=20.0", "--set", "checkpoints.every_steps=1")
    process = torchrun(2, recipe, *long)
    run = tmp_path / "out/run"
    until_a_checkpoint(run, process)
    os.kill(children(process)[-1], 9)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "SIGKILL" in err and not (run / "student.json").is_file()
    code, _, err = run_cli("train-student", recipe, *long)
    assert code == 0 and "continuing after step" in err


@pytest.mark.slow
@pytest.mark.parametrize("knob", ["optim.shard=false", "optim.shard=true"])
def test_a_process_whose_partner_was_killed_ends_with_a_line(recipe, tmp_path, knob):
    """Without torchrun to stop it: both processes are started by hand, as on two machines."""
    command = [sys.executable, "-m", "distillkit", "train-student", str(recipe), "--set", knob]
    command += ["--set", "optim.epochs=60.0", "--set", "checkpoints.every_steps=1"]
    job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    one, other = (
        subprocess.Popen(command, env=os.environ | job | {"RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    )
    until_a_checkpoint(tmp_path / "out/run", one, other)
    one.kill()
    one.communicate()
    _, err = other.communicate(timeout=30)
    assert other.returncode == 1 and "Traceback" not in err, err
    assert "error: rank 1: another process of this run is gone" in err.splitlines()[-1]


@pytest.mark.slow
def test_torchrun_begins_again_after_a_death(recipe, tmp_path):
    knobs = ("--set", "optim.epochs=40.0", "--set", "checkpoints.every_steps=1")
    process = torchrun(2, recipe, *knobs, flags=("--max-restarts", "1"))
    run = tmp_path / "out/run"
    until_a_checkpoint(run, process)
    os.kill(children(process)[-1], 9)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "continuing after step" in err, err
    assert (run / "student.json").is_file() and (run / "baseline/student.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("knob", ["optim.shard=false", "optim.shard=true"])
def test_what_is_measured_on_the_way_is_that_of_one_process(recipe, run_cli, tmp_path, knob):
    """Validation and its best student, the pull of each term, and a tracker that is told by the first process alone."""
    validation = f'eval = {{ kind = "retrieval", store = "{tmp_path}/out/images" }}\nevery_steps = 4\nbest = "R@5"\n'
    recipe.write_text(recipe.read_text().split("[baseline]")[0] + f"[validation]\n{validation}")
    (tmp_path / "trackio.py").write_text(TRACKER.format(file=tmp_path / "tracked"))
    knobs = ["log.every_steps=2", "log.gradient_norms=true", "optim.ema=0.9", "optim.eps=0.01"]
    knobs = [word for one in knobs for word in ("--set", one)]
    assert run_cli("train-student", recipe, *knobs, "--set", f'out="{tmp_path}/one"')[0] == 0
    knobs += ["--set", 'log.trackio="mine"', "--set", f'out="{tmp_path}/two"', "--set", knob]
    process = torchrun(2, recipe, *knobs, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    one, two = tmp_path / "one", tmp_path / "two"
    assert any("gradient.affinity" in line for line in (two / "metrics.jsonl").read_text().splitlines())
    assert torch.allclose(losses(one), losses(two), rtol=1e-3)
    first, second = (
        [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()] for run in (one, two)
    )
    assert [line["step"] for line in first] == [line["step"] for line in second] == [4, 8, 12]
    assert [line["R@5"] for line in second] == pytest.approx([line["R@5"] for line in first], abs=0.03)
    assert (tmp_path / "tracked").read_text().split() == ["begun", "2", "4", "6", "8", "10", "12", "ended"]
    best = json.loads((two / "best/best.json").read_text())
    weights = load_file(two / "best/student.safetensors")
    student = RunFolder(two).load_student()
    assert weights.keys() == student.state_dict().keys() and best["step"] in (4, 8, 12)
    for name, value in RunFolder(one).load_student().state_dict().items():
        assert (student.state_dict()[name] - value).norm() <= 1e-3 * value.norm() + 1e-6, name


@pytest.mark.slow
@pytest.mark.parametrize("knob", ["optim.shard=false", "optim.shard=true"])
def test_a_nan_leaves_the_share_of_every_process(recipe, tmp_path, knob):
    process = torchrun(2, recipe, "--set", "optim.lr=1e30", "--set", "optim.warmup_epochs=0.0", "--set", knob)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0 and "Traceback" not in err.split("failed (exitcode")[0], err
    kept = sorted((tmp_path / "out/run").glob("nan-*"))
    assert [path.name.partition("-rank")[2] for path in kept] == ["", "1"]
    for path in kept:
        assert f"(batch and weights: {path})" in err
        what = json.loads((path / "what.json").read_text())
        terms = replay(path)
        assert len(what["keys"]) == 8 and not all(torch.tensor(list(terms.values())).isfinite())


@pytest.mark.long
def test_a_batch_that_cannot_be_shared_is_refused(recipe, tmp_path):
    process = torchrun(2, recipe, "--set", "data.batch_size=15")
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and not (tmp_path / "out/run").exists()
    assert "error: 2 processes cannot share data.batch_size = 15; make it a multiple" in err


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_cover_a_batch_once(world):
    rows = torch.arange(20)
    assert torch.cat([rows[Ranks(rank, world).span(20)] for rank in range(world)]).tolist() == list(range(20))


def test_what_every_rank_says_of_its_share_comes_together_in_order(monkeypatch):
    rows = torch.arange(14.0).view(7, 2)

    def all_gather(parts, mine):
        assert len({part.shape for part in (*parts, mine)}) == 1, "a collective is of equal shapes"
        for rank, part in enumerate(parts):
            own = rows[Ranks(rank, 3).span(7)]
            part[: len(own)] = own

    monkeypatch.setattr(ranks.dist, "all_gather", all_gather)
    for one in (Ranks(rank, 3) for rank in range(3)):
        assert torch.equal(one.gathered(rows[one.span(7)], 7, torch.device("cpu")), rows)


def test_the_others_wait_for_the_first_outside_of_any_collective(monkeypatch):
    """NCCL ends a process that is away from a collective for half an hour; a store is asked as long as it takes."""
    store, order = dist.HashStore(), []
    monkeypatch.setattr(ranks, "_store", lambda: store)
    monkeypatch.setattr(ranks, "_TURNS", itertools.repeat(7))
    monkeypatch.setattr(ranks.dist, "barrier", lambda: pytest.fail("a collective"))

    def other():
        with Ranks(1, 2).one_first():
            order.append("second")

    waiting = threading.Thread(target=other)
    waiting.start()
    with Ranks(0, 2).one_first():
        time.sleep(0.4)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_two_processes_on_one_gpu_are_refused(monkeypatch):
    store = dist.HashStore()
    facts = SimpleNamespace(uuid="GPU-1")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: facts)
    store.set("gpu/0", f"{socket.gethostname()} GPU-1")
    with pytest.raises(TrainError, match=r"^ranks 0 and 1 are both on cuda:0 of .*--nproc-per-node"):
        ranks._refuse_shared_gpus(store, torch.device("cuda:0"), 1, 2)
    facts.uuid = "GPU-2"
    ranks._refuse_shared_gpus(store, torch.device("cuda:0"), 1, 2)


def test_nccl_is_told_its_device(monkeypatch):
    made, looked = [], []
    monkeypatch.setattr(ranks, "rendezvous", lambda *a, **k: iter([(dist.HashStore(), 0, 1)]))
    monkeypatch.setattr(ranks, "_refuse_shared_gpus", lambda store, *a: looked.append(a))
    monkeypatch.setattr(
        ranks.dist, "init_process_group", lambda backend, **k: made.append((backend, k.get("device_id")))
    )
    for device in (torch.device("cuda:2"), torch.device("cpu")):
        ranks._join(device)
    assert made == [("nccl", torch.device("cuda:2")), ("gloo", None)]
    assert looked == [(torch.device("cuda:2"), 0, 1)], "before NCCL is asked, which hangs where two share a GPU"


@pytest.mark.parametrize(("device", "left"), [("cuda", 1), ("cpu", 2)])
def test_who_fails_alone_does_not_wait_for_others_on_gpus(monkeypatch, device, left):
    """NCCL leaves with all ranks together, and the others wait for this one: the error would never be told."""
    seen = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "_join", lambda device: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: seen.append(1))
    with ranks.joined(torch.device(device)):
        pass
    assert len(seen) == 1
    with pytest.raises(TrainError, match="damaged"), ranks.joined(torch.device(device)):
        raise TrainError("a.jpg: damaged")
    assert len(seen) == left


@pytest.mark.parametrize(("asked", "left"), [(signal.SIGTERM, 1), (None, 0)])
def test_ranks_that_were_asked_to_stop_leave_in_order_on_gpus(monkeypatch, asked, left):
    """They made the same last step; else PyTorch says of each that it left a group without a word."""
    seen = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "_join", lambda device: None)
    monkeypatch.setattr(ranks, "asked", lambda: asked)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: seen.append(1))
    with pytest.raises(SystemExit), ranks.joined(torch.device("cuda")):
        raise SystemExit(143)
    assert len(seen) == left
