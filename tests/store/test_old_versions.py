"""Stores and checkpoints as the first code of each format version wrote them: opened, continued, never changed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

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
    sentence = "every later version must open it, end one that was begun, and find the digest unchanged"
    must(sentence, one.finish({"toy": "1"}).digest == DIGESTS[version])


@every_version
def test_a_checkpoint_is_continued(version, tmp_path):
    shutil.copytree(OLD / str(version) / "checkpoints", tmp_path / "checkpoints")
    model = nn.ModuleDict({"student": nn.Linear(3, 2)})
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False)
    checkpoint.set_damaged_aside(tmp_path / "checkpoints", pytest.fail)
    assert checkpoint.restore(tmp_path / "checkpoints", model, optimizer, scaler) == 5
    assert all(int(state["step"]) == 1 for state in optimizer.state.values())
