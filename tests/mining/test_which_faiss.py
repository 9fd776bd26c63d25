"""FAISS is an extra, of which there are two; one that is missing or broken is a line."""

import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from distillkit.errors import DistillkitError
from distillkit.mining import which_faiss
from distillkit.mining.process import mine_apart
from distillkit.recipe import MineRecipe
from distillkit.system import machine

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_a_cpu_and_a_gpu_have_an_extra_each_and_nothing_else_brings_either():
    extras = PROJECT["optional-dependencies"]
    own = {name: [one for one in packages if "faiss" in one] for name, packages in extras.items()}
    assert {name for name, packages in own.items() if packages} == {"mining", "mining-gpu", "faiss-gpu"}
    assert own["faiss-gpu"] == own["mining-gpu"] and own["mining"][0].startswith("faiss-cpu")
    assert not [one for one in PROJECT["dependencies"] if "faiss" in one]


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (None, 'faiss is not installed; run: pip install "distillkit[mining]"'),
        ("raise ImportError('libcublas.so.12: cannot open shared object file')", "faiss cannot be loaded here (libcub"),
    ],
)
def test_one_that_is_not_there_or_does_not_load_is_a_line(tmp_path, monkeypatch, module, told):
    """Through the process that mines, whose imports come first."""
    hidden = tmp_path / "faiss.py"
    hidden.write_text(module or "raise ModuleNotFoundError(\"No module named 'faiss'\", name='faiss')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    with pytest.raises(DistillkitError) as caught:
        mine_apart(MineRecipe(queries="q", corpus="c"))
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


_WITHOUT = """
import sys
sys.modules["faiss"] = None
import distillkit.train, distillkit.extract, distillkit.evaluate
import benchmarks.gpu.mining
import numpy as np, torch
from distillkit.mining.exact_gpu import ExactOnGPU
from tests.mining.test_exact_gpu import Units
from tests.pretend import pretend_gpu
units = Units(90, 8)
with pretend_gpu():
    found = ExactOnGPU(units, 40, 16, torch.device("cuda:0")).search(units.rows[:7], 3)
assert (found.places == np.argsort(-units.rows[:7] @ units.rows.T, axis=1, kind="stable")[:, :3]).all()
"""


def test_training_and_extraction_and_exact_search_on_a_gpu_do_without():
    subprocess.run([sys.executable, "-c", _WITHOUT], check=True, cwd=Path(__file__).parents[2])


def test_a_machine_says_which_one_it_has(monkeypatch):
    here = {"faiss-cpu": "1.9"}

    def version(name):
        if name not in here:
            raise machine.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(machine, "version", version)
    assert machine.search_library() == "faiss-cpu 1.9"
    here |= {"faiss-gpu": "1.15.1"}
    assert machine.search_library() == "faiss-gpu 1.15.1"
    with pytest.raises(
        DistillkitError, match=r"^faiss-gpu 1\.15\.1 and faiss-cpu 1\.9 are here together, .* pip uninst"
    ):
        runpy.run_path(which_faiss.__file__)
    here.clear()
    assert machine.search_library() is None


def test_a_store_says_by_what_is_mined_here(toy_stores, run_cli, monkeypatch):
    for found, told in (
        ("faiss-cpu 1.9", "faiss-cpu 1.9"),
        ("faiss-gpu 1.15.1", "faiss-gpu 1.15.1, on the CPU, as PyTorch finds no GPU"),
        (None, 'FAISS, which is not installed: pip install "distillkit[mining]", or [mining-gpu]'),
    ):
        monkeypatch.setattr(machine, "search_library", lambda found=found: found)
        code, out, _ = run_cli("store", "info", toy_stores / "out/images")
        assert code == 0 and out.splitlines()[-1] == f"mining here is by {told}"
