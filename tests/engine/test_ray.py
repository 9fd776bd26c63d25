"""The Ray engine makes the stores of the local one, byte for byte, whoever dies on the way."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from distillkit.engine.ray import RayEngine
from distillkit.recipe.extraction import Ray
from distillkit.store.format.manifest import Manifest
from distillkit.store.upkeep.verify import verify
from tests.conftest import draw
from tests.engine.killing import forked
from tests.engine.whole import files

pytest.importorskip("ray.data")

MAIN = "from distillkit.cli import main; main()"


def command(recipe, *settings):
    overrides = [argument for setting in ("ray.most=1", *settings) for argument in ("--set", setting)]
    return [sys.executable, "-c", MAIN, "extract-teacher", str(recipe), "--engine", "ray", *overrides]


@pytest.fixture
def images(recipes, run_cli, tmp_path):
    """The toy recipe with its images alone, extracted by the local engine into tmp_path/local."""
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])
    assert run_cli("extract-teacher", recipes[0], "--set", f'out="{tmp_path}/local"')[0] == 0
    return recipes[0]


@pytest.mark.long
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


CLUSTER = """
import ray
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, logging_level="ERROR")
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""


@pytest.fixture
def cluster():
    """A Ray cluster that outlives the runs that join it: its address, and the process that all of it is below."""
    command, pipe = [sys.executable, "-c", CLUSTER], subprocess.PIPE
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}  # else who joins needs its token
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment) as process:
        address = process.stdout.readline().decode().strip()
        assert address, "no cluster began, and runs without one would each begin their own"
        yield address, psutil.Process(process.pid)
        process.communicate(b"\n", timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_and_workers_killed_at_any_instant_leave_the_same_store(images, tmp_path, cluster, run_cli):
    """Of each two kills one hits the run itself, one a worker, which Ray replaces: 25 kills, over four shards."""
    address, below = cluster
    draw(tmp_path / "more", 250)
    recipe = images.read_text().replace(f"{tmp_path}/corpus", f"{tmp_path}/more")
    images.write_text(recipe)
    assert run_cli("extract-teacher", images, "--set", f'out="{tmp_path}/whole"')[0] == 0
    want, out = files(tmp_path / "whole/images"), tmp_path / "out/images"
    assert len(list((tmp_path / "whole/images/commits").iterdir())) == 4

    def start(*settings):
        told = ("ray.most=1", f'ray.address="{address}"', *settings)
        return forked("extract-teacher", images, "--engine", "ray", *(f"--set={setting}" for setting in told))

    started = time.monotonic()
    assert ended(start(f'out="{tmp_path}/once"')) == 0 and files(tmp_path / "once/images") == want
    whole_time, chance, kills = time.monotonic() - started, random.Random(0), 0
    while kills < 25:
        run = start()
        if kills % 2:
            while not (workers := workers_below(below)) and not gone(run):
                time.sleep(0.01)
            time.sleep(chance.random() * whole_time / 2)
            kills += sum(killed(worker.pid) for worker in workers[:1])
            assert ended(run) == 0
        else:
            time.sleep(chance.random() * whole_time)
            kills += killed(run)
            ended(run)
        if (out / "manifest.json").is_file():
            assert verify(out) == [] and files(out) == want
            shutil.rmtree(tmp_path / "out")
    assert ended(start()) == 0 and files(out) == want
    assert Manifest.read(out).digest == Manifest.read(tmp_path / "whole/images").digest


NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = []
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "add\\n":
        nodes.append(cluster.add_node(num_cpus=1))
    else:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()
"""


class Nodes:
    """A cluster on this machine of a head that computes nothing, and of nodes of one CPU that come and go."""

    def __init__(self, process):
        self.process, self.address = process, process.stdout.readline().strip()

    def one(self, what):
        """Do it to a node: "add" one, or "kill" the oldest without a word."""
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def at_work(self):
        """The nodes (their main process) that have an actor with a teacher."""
        return {worker.ppid() for worker in workers_below(psutil.Process(self.process.pid))}


@pytest.fixture
def nodes():
    command, pipe = [sys.executable, "-c", NODES], subprocess.PIPE
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as it:
        cluster = Nodes(it)
        for _ in range(2):
            cluster.one("add")
        yield cluster
        it.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_cluster_that_loses_nodes_and_gains_one_leaves_the_same_store(images, tmp_path, nodes, run_cli):
    """Two actors on two nodes. One node dies, another comes; then the other first one dies: the late one goes on."""
    draw(tmp_path / "more", 2560)
    images.write_text(images.read_text().replace(f"{tmp_path}/corpus", f"{tmp_path}/more"))
    assert run_cli("extract-teacher", images, "--set", f'out="{tmp_path}/whole"')[0] == 0
    want, out = files(tmp_path / "whole/images"), tmp_path / "out/images"
    told = ("ray.least=2", "ray.most=2", "ray.cpus=1", f'ray.address="{nodes.address}"')
    run = forked("extract-teacher", images, "--engine", "ray", *(f"--set={setting}" for setting in told))

    def until(true):
        while not true():
            assert not gone(run), "it ended too early to be disturbed"
            time.sleep(0.02)

    def committed():
        return len(list((out / "commits").glob("*")))

    until(lambda: len(nodes.at_work()) == 2 and committed())
    before = nodes.at_work()
    nodes.one("kill")
    nodes.one("add")
    nodes.one("kill")
    left = committed()
    assert left < 40
    until(lambda: nodes.at_work() - before and committed() > left)
    assert ended(run) == 0
    assert verify(out) == [] and files(out) == want


def gone(run):
    """Whether a child has ended; it can still be waited for."""
    return psutil.Process(run).status() == psutil.STATUS_ZOMBIE


def ended(run):
    """The exit code of a child, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])


def killed(process):
    """kill -9; whether there was anything to kill."""
    try:
        alive = psutil.Process(process).status() != psutil.STATUS_ZOMBIE
        os.kill(process, signal.SIGKILL)
        return alive
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


def workers_below(cluster):
    """The processes of actors that compute shards."""
    found = []
    for process in cluster.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("MapWorker" in word for word in process.cmdline()):
                found.append(process)
    return found


def test_a_process_that_looked_at_a_gpu_gives_it_back():
    """Ray ends the process of a GPU's task only if it hears of the GPU where the task is made."""
    ray = pytest.importorskip("ray")
    task = RayEngine(Ray(cpus=1.0, gpus=1.0))._task(forked)
    assert isinstance(task, ray.remote_function.RemoteFunction) and task._default_options["max_calls"] == 1
    assert RayEngine(Ray(cpus=1.0, gpus=0.0))._task(forked)._default_options.get("max_calls") is None
