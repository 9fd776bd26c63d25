"""A run whose stores are views, and its report."""

import json
import shutil

import numpy as np
import pytest

from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.report import write_report
from distillkit.runfolder import RunFolder
from distillkit.store.reading.selection import select
from tests.records import without_checksum


@pytest.fixture(scope="module")
def world(tmp_path_factory, teacher_folder):
    """A student of rows 0:40 of a store of 70, evaluated on the other ones."""
    from distillkit.evaluate import evaluate
    from distillkit.extract import extract
    from distillkit.train import train
    from tests.conftest import EXTRACT, TRAIN, draw

    root = tmp_path_factory.mktemp("views")
    places = {"out": root / "out", "corpus": draw(root / "corpus", 70), "teacher": teacher_folder}
    (root / "extract.toml").write_text(EXTRACT.format(**places))
    extract(load(root / "extract.toml", kind=ExtractRecipe), say=lambda message: None)
    images = root / "out/images"
    select(images, np.arange(40), root / "out/train")
    select(images, np.arange(40, 70), root / "out/held")
    recipe = TRAIN.format(**places).replace("epochs = 6", "epochs = 2")
    recipe = recipe.replace(f'\nimages = "{images}"', f'\nimages = "{root}/out/train"')
    recipe = recipe.replace(f'store = "{images}"', f'store = "{root}/out/held"')
    student, evals = recipe.partition("[baseline]")[0], recipe.partition("[[evals]]")[2]
    (root / "train.toml").write_text(f"{student}[[evals]]{evals}")
    evaluate(train(load(root / "train.toml", kind=TrainRecipe), say=lambda message: None), say=lambda message: None)
    return root / "out"


@pytest.fixture
def out(world, tmp_path):
    """A copy of the stores and the run, which names its stores by their places in it."""
    shutil.copytree(world, tmp_path / "out")
    for path in (tmp_path / "out/run").glob("*.json"):
        path.write_text(without_checksum(json.loads(path.read_text().replace(str(world), str(tmp_path / "out")))))
    path = tmp_path / "out/run/evaluation.json"
    evaluation = json.loads(path.read_text())
    for values in evaluation["results"]["retrieval"].values():  # no network of noise is told from chance
        values |= {"R@10": 0.5, "R@10.low": 0.4, "R@10.high": 0.6, "R@10.chance": 0.1}
    path.write_text(without_checksum(evaluation))
    return tmp_path / "out"


def written(out):
    """report.md, written anew, and report.html, which says the same."""
    page = write_report(RunFolder(out / "run"), None)
    return page.with_suffix(".md").read_text().replace("\\", ""), page.read_text()
