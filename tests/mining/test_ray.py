"""Neighbours mined by Ray's workers are those of one process; what goes wrong there is one line here."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from distillkit.mine import mine_here
from tests.mining.test_mine import mined, recipe

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


def run(file, *settings):
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", "mine-neighbours", file]
    overrides = [argument for setting in ("ray.cpus=1", *settings) for argument in ("--set", setting)]
    return subprocess.run([*command, "--engine", "ray", *overrides], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("index", ["exact", "ivf_pq"])
def test_its_parts_make_the_addition_of_one_process(tmp_path, images, texts, index):
    mine_here(recipe(images, texts, index=index, held_out=50, threads=1), 1, lambda _: None)
    want = mined(images)
    shutil.rmtree(images.path / "added")
    file = tmp_path / "mine.toml"
    knobs = f'k = 32\nrows_per_shard = 64\nindex = "{index}"\nheld_out = 50\nthreads = 1\n'
    file.write_text(f'queries = "{images.path}"\ncorpus = "{texts.path}"\n{knobs}')
    done = run(file)
    assert done.returncode == 0 and "complete, 300 rows, 2 of them failed" in done.stderr, done.stderr
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(mined(images), want, strict=True))
    done = run(file, "k=5000")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: on a Ray worker: " in done.stderr and "lower k = 5000" in done.stderr.splitlines()[-1]
