"""Stores, runs, checkpoints as the first code of each format version wrote them: opened, continued, never changed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from distillkit import evaluate, train
from distillkit.runfolder import RunFolder
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import VERSION, Manifest
from distillkit.store.format.plan import SCHEMA
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.writer import StoreWriter
from distillkit.testing import must
from distillkit.training import checkpoint

OLD, ROWS = Path(__file__).parent / "old", 70
# What the first code that wrote them said of the whole store.
DIGESTS = {
    1: "bdc05ca8c663d08b57a845e77e5859f5d6c9e4fb14b7762425a339da6090cf47",
    2: "dd869d736c1071fcfcc28f176207895723647ba3674c5aad0b3e379e6952159e",
}
every_version = pytest.mark.parametrize("version", DIGESTS)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def said(first, stop):
    return (np.arange(first, stop)[:, None] + np.arange(32) / 64).astype(np.float16)


def writer(path):
    keys = [f"k{n:04d}" for n in range(ROWS)]
    columns = [keys, [f"{key}.png" for key in keys], [f"text {n}" for n in range(ROWS)], list(range(ROWS))]
    identity = {
        "source": {"kind": "toy", "knobs": {}, "root": None, "duplicates": 0},
        "teachers": {"toy": {"model": "toy", "weights_sha256": "0" * 64}},
        "views": {"count": 1},
    }
    fields = {"toy/image": Field(teacher="toy", shape=[32], dtype="float16")}
    return StoreWriter(path, pa.table(columns, SCHEMA), fields, 64, identity)


def test_there_is_a_store_of_every_version():
    assert sorted(DIGESTS) == [*range(1, VERSION + 1)]


@every_version
def test_a_whole_store_is_read_and_is_what_it_was(version):
    path = OLD / str(version) / "whole"
    store = FeatureStore(path)
    assert Manifest.read(path).version == version and store.digest == DIGESTS[version] and verify(path) == []
    ok = np.delete(np.arange(ROWS), 3)
    assert np.array_equal(store.ok_rows, ok) and np.array_equal(store.read("image", ok).numpy(), said(0, ROWS)[ok])


@every_version
def test_a_store_that_was_begun_is_ended_as_it_would_have_been(version, tmp_path):
    shutil.copytree(OLD / str(version) / "begun", tmp_path / "whole")
    one = writer(tmp_path / "whole")
    assert one.mend() == [] and one.committed(0) and not one.committed(1)
    one.begin()
    one.commit(1, {"toy/image": said(64, ROWS)}, [])
    sentence = "Every later version must open that store, end one that was begun, and find the digest unchanged"
    must(sentence, one.finish({"toy": "1"}).digest == DIGESTS[version])


@every_version
def test_a_checkpoint_is_continued(version, tmp_path):
    shutil.copytree(OLD / str(version) / "checkpoints", tmp_path / "checkpoints")
    model = nn.ModuleDict({"student": nn.Linear(3, 2)})
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False)
    checkpoint.set_damaged_aside(tmp_path / "checkpoints", pytest.fail)
    assert checkpoint.restore(tmp_path / "checkpoints", model, optimizer, scaler) == 5
    assert all(int(state["step"]) == 1 for state in optimizer.state.values())


@pytest.fixture
def old_run(version, tmp_path, monkeypatch):
    """The run folder of a version and its store, where they can be changed; the images lie elsewhere by now."""
    shutil.copytree(OLD / str(version) / "run", tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    recipe = RunFolder(Path("run")).begun_recipe()
    moved = recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": str(OLD / "corpus")})})
    return RunFolder(Path("run")), moved


def weights(run):
    return load_file(run.path / "student.safetensors")


@every_version
def test_a_run_folder_is_opened(version, old_run):
    run, _ = old_run
    assert Manifest.read(Path("images")).version == version and verify(Path("images")) == []
    assert run.finished and run.facts()["steps"] == 12 and [line["step"] for line in run.history()] == [10, 12]
    student = run.load_student()
    assert torch.equal(student.projection.weight, weights(run)["projection.weight"])


@every_version
def test_a_finished_run_folder_is_not_trained_again_and_is_evaluated(version, old_run, run_cli):
    run, recipe = old_run
    before, said = weights(run), []
    train(recipe, said.append)
    assert said == ["run: already trained, nothing to do"]
    numbers = json.loads((run.path / "evaluation.json").read_bytes())["results"]["retrieval"]
    evaluate(run.path, said.append)
    again = json.loads((run.path / "evaluation.json").read_bytes())["results"]["retrieval"]
    for who in ("student", "teacher"):
        assert {key: again[who][key] for key in ("R@1", "R@5", "R@10")} == {
            key: pytest.approx(numbers[who][key]) for key in ("R@1", "R@5", "R@10")
        }
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())


@every_version
def test_a_run_folder_that_was_stopped_is_continued(version, old_run):
    run, recipe = old_run
    before = weights(run)
    for name in ("student.json", "student.safetensors"):
        (run.path / name).unlink()
    said = []
    train(recipe, said.append)
    assert any("continuing after step 10" in line for line in said) and not any("anew" in line for line in said), said
    assert run.finished and [line["step"] for line in run.history()] == [10, 12]
    # Two steps of the old code and of ours, over the same rows: other crops, and so not the same bits.
    for name, value in weights(run).items():
        torch.testing.assert_close(value, before[name], atol=1e-3, rtol=0)
