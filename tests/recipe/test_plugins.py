"""A package that somebody installs beside ours adds a source, teacher, student, loss and eval, named in recipes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXTRACT = """
name = "squares"
out = "out"
teacher = { kind = "squares.networks:Colour", strength = 2.0 }
[[corpora]]
name = "images"
source = { kind = "squares.data:Drawn", count = 24 }
fields = ["image"]
dtype = "float32"
"""
TRAIN = """
name = "squares"
data = { images = "out/images", batch_size = 8, augment = { scale = [1.0, 1.0], flip = 0.0 } }
student = { kind = "squares.networks:Linear", image_size = 8 }
losses = [{ kind = "squares.measures:Apart" }]
optim = { epochs = 20, lr = 5e-3, warmup_epochs = 0.0 }
evals = [{ kind = "squares.measures:Distance", store = "out/images" }]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package, installed into a folder by pip; the build must not write into our tree."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(HERE / "plugin", folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    target = folder / "site"
    subprocess.run([*pip, "--target", str(target), str(folder / "source")], check=True, capture_output=True)
    return target


def distillkit(folder, site, *arguments):
    path = os.pathsep.join(map(str, (site, HERE.parents[1])))
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.long
def test_all_five_rooms_are_open_to_an_installed_package(installed, tmp_path):
    (tmp_path / "extract.toml").write_text(EXTRACT)
    (tmp_path / "train.toml").write_text(TRAIN)
    for command in (
        ("extract-teacher", "extract.toml"),
        ("recipe", "check", "train.toml"),
        ("train-student", "train.toml"),
        ("evaluate", "runs/squares"),
    ):
        done = distillkit(tmp_path, installed, *command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    lines = [json.loads(line) for line in (tmp_path / "runs/squares/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["Apart"] < 0.5 * lines[0]["Apart"]
    results = json.loads((tmp_path / "runs/squares/evaluation.json").read_text())["results"]
    assert results["distance"]["teacher"]["distance"] == 0.0 < results["distance"]["student"]["distance"] < 0.5


def test_its_knobs_are_checked_like_ours(installed, tmp_path):
    (tmp_path / "train.toml").write_text(TRAIN.replace("image_size = 8", "image_sise = 8"))
    done = distillkit(tmp_path, installed, "recipe", "check", "train.toml")
    assert done.returncode == 1 and "did you mean 'image_size'?" in done.stderr and done.stderr.count("\n") == 1


def test_where_it_is_not_installed_one_line_says_so(tmp_path):
    (tmp_path / "train.toml").write_text(TRAIN)
    done = distillkit(tmp_path, tmp_path, "recipe", "check", "train.toml")
    assert done.returncode == 1 and "cannot import 'squares.networks'" in done.stderr and done.stderr.count("\n") == 1
