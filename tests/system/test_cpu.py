"""What decides how fast networks run on a CPU."""

import threading

import numpy as np
import pytest
import torch

import distillkit
from distillkit.errors import DistillkitError
from distillkit.suggest import entropies
from distillkit.system import cpu


@pytest.mark.parametrize(("cores", "said", "threads"), [(1, None, 1), (1, "2", 2), (8, None, 2)])
def test_torch_takes_no_more_threads_than_a_container_allows(monkeypatch, cores, said, threads):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(cpu, "cores", lambda: cores)
    try:
        torch.set_num_threads(2)
        cpu.settle()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def _of_a_new_thread():
    said = []
    thread = threading.Thread(target=lambda: said.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return said[0]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    yield
    torch.set_num_threads(before)


def _smallest():
    """Of NumPy, which takes it from the thread."""
    return np.float32(1e-40) * np.float32(1)


def test_what_a_caller_has_set_comes_back(two_threads):
    torch.manual_seed(5)
    own = torch.rand(4)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="within"), cpu.settled():
        assert _smallest() == 0
        torch.manual_seed(0)
        in_a_pool = threading.Thread(target=torch.set_num_threads, args=(1,))
        in_a_pool.start()
        in_a_pool.join()
        assert _of_a_new_thread() == 1
        raise ValueError("within")
    assert torch.equal(torch.rand(4), own) and _smallest() > 0
    assert torch.get_num_threads() == 2 and _of_a_new_thread() == 2


def test_where_no_thread_can_begin_what_was_made_is_not_lost(monkeypatch):
    """As in what Python 3.12 and later call at the end of a process."""

    def refused(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert cpu.settled()(lambda: "made")() == "made"


DEFAULTS = {
    "none": (torch.float32, "cpu"),
    "float64": (torch.float64, "cpu"),
    "float16": (torch.float16, "cpu"),
    "meta": (torch.float32, "meta"),
}


@pytest.mark.parametrize("flushes", [True, False])
@pytest.mark.parametrize("defaults", DEFAULTS)
def test_whether_a_caller_flushes_is_as_before(flushes, defaults):
    """Whatever numbers torch makes by default: where these were float16, NumPy took small ones for zero ever after."""
    dtype, device = DEFAULTS[defaults]
    torch.set_flush_denormal(flushes)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), cpu.settled():
            pass
        assert (_smallest() == 0) == flushes
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(False)


DOORS = {
    "evaluate": lambda none: distillkit.evaluate(none),
    "evaluate_teacher": lambda none: distillkit.evaluate_teacher(none, none),
    "embed": lambda none: distillkit.embed(none, none, out=none / "vectors.npy"),
    "search": lambda none: distillkit.search(none, "a red ball", within=none),
    "export": lambda none: distillkit.export(none, "onnx"),
    "suggest_scale": lambda none: distillkit.suggest_scale(none),
    "entropies": lambda none: entropies(none),
    "verify": lambda none: distillkit.verify(none, reforward=2),
    "teacher_precision": lambda none: distillkit.teacher_precision(none, "fp8"),
}


@pytest.mark.parametrize("door", DOORS)
def test_whatever_runs_a_network_keeps_to_the_cores_of_its_container(monkeypatch, tmp_path, door):
    called = []
    monkeypatch.setattr(cpu, "settle", lambda: called.append(door))
    with pytest.raises(DistillkitError):
        DOORS[door](tmp_path / "none")
    assert called
