"""One world for the tests of this folder, and copies of its runs for those that change them."""

import shutil
from pathlib import Path

import pytest

from distillkit import evaluate
from tests.evaluation.worlds import make_world, quiet, train_run


@pytest.fixture(scope="package")
def world(tmp_path_factory, teacher_folder):
    """Stores, and four evaluated runs with baselines: a@0 and a@1 differ by their seed, b@0 and b@1 learn slower."""
    folder = make_world(tmp_path_factory.mktemp("measured"), teacher_folder)
    for name, overrides in (
        ("a@0", ["seed=0"]),
        ("a@1", ["seed=1"]),
        ("b@0", ["seed=0", "optim.lr=1e-4"]),
        ("b@1", ["seed=1", "optim.lr=1e-4"]),
    ):
        evaluate(train_run(folder, name, *overrides), quiet)
    return folder


@pytest.fixture
def run(world, tmp_path):
    """A copy of a@0 to change."""
    return Path(shutil.copytree(world / "a@0", tmp_path / "run"))
