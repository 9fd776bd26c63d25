"""`optim.deterministic` is asked for in time, and leaves a caller's own setting as it was."""

import re
from pathlib import Path

import pytest
import torch

from distillkit.errors import TrainError
from distillkit.recipe import Optim
from distillkit.training.deterministic import deterministic

ON, OFF = (Optim(epochs=1, deterministic=asked) for asked in (True, False))
GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


@pytest.fixture(params=[(True, True), (True, False), (False, False)])
def own(request):
    torch.use_deterministic_algorithms(request.param[0], warn_only=request.param[1])
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("asked", [True, False])
def test_a_callers_own_setting_stands_before_and_after(own, asked):
    with deterministic(ON if asked else OFF, CPU):
        assert torch.are_deterministic_algorithms_enabled() == (asked or own[0])
    now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    assert now == own


def test_a_cublas_that_was_told_otherwise_is_one_line(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(TrainError, match=r"CUBLAS_WORKSPACE_CONFIG=:4096:8 alone, here it is ':0:0'"):
        deterministic(ON, GPU).__enter__()
    with deterministic(ON, CPU), deterministic(OFF, GPU):
        pass


def test_a_cublas_that_was_used_before_is_one_line(monkeypatch):
    """PyTorch's own words at the first product; any other error stays what it is."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    late = "Deterministic behavior was enabled ... you must set CUBLAS_WORKSPACE_CONFIG=:4096:8"
    with pytest.raises(TrainError, match="import distillkit first"), deterministic(ON, GPU):
        raise RuntimeError(late)
    with pytest.raises(RuntimeError, match="another"), deterministic(ON, GPU):
        raise RuntimeError("another")
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_cannot_be_computed_so_is_one_line():
    """Such as the way back of what enlarges maps, on a GPU; this one on a CPU, too."""
    told = r"^optim\.deterministic: put_ repeats itself on no cpu; leave optim\.deterministic out"
    with pytest.raises(TrainError, match=told), deterministic(ON, CPU):
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
    assert not torch.are_deterministic_algorithms_enabled()


ROOT = Path(__file__).parents[2]


def test_bit_for_bit_is_said_of_a_gpu_only_with_it():
    """Wherever a text promises that a run goes on to the same bits, it says what that takes on a GPU."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "distillkit/train.py"]
    paragraphs = [part for page in pages for part in re.split(r"\n\s*\n", page.read_text())]
    promises = [part for part in paragraphs if "bit for bit" in part and re.search(r"continue|goes on|Rerunning", part)]
    assert len(promises) >= 3
    for part in promises:
        assert "GPU" in part and re.search(r"optim\.deterministic|`deterministic", part), part
    (row,) = re.findall(r"^\| `optim\.deterministic = true` \| (.*) \|$", (ROOT / "docs/training.md").read_text(), re.M)
    assert "the same bits each time on a GPU too" in row
