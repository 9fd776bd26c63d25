"""From a classifier's best classes in a store to a student that learns them."""

import os

import pytest
import timm
import torch
from safetensors.torch import save_file

from distillkit.store.reading.reader import FeatureStore

EXTRACT = """
name = "labels"
out = "{out}"
[teacher]
kind = "timm"
model = "test_vit"
weights = "{weights}"
image_size = 32
top_k = 5
device = "cpu"
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{corpus}/images" }}
fields = ["logits", "classes"]
batch_size = 16
"""
TRAIN = """
name = "labels"
out = "{out}/run"
[data]
images = "{out}/images"
captions = "none"
batch_size = 16
pixel_cache = 32
render = "device"
[student]
kind = "timm_image"
model = "mobilenetv3_small_050"
image_size = 32
classes = 20
[[losses]]
kind = "label_kd"
{knobs}
[optim]
epochs = 1
"""


@pytest.fixture
def world(tmp_path, corpus, run_cli, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    network = timm.create_model("test_vit", img_size=32, num_classes=20)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    save_file(network.state_dict(), weights)
    (corpus / "images/007.png").write_bytes(b"")
    (tmp_path / "extract.toml").write_text(EXTRACT.format(out=tmp_path / "out", weights=weights, corpus=corpus))

    def train(knobs=""):
        (tmp_path / "train.toml").write_text(TRAIN.format(out=tmp_path / "out", knobs=knobs))
        return run_cli("train-student", tmp_path / "train.toml", "--overwrite")

    return train


def test_a_student_learns_the_best_classes(world, run_cli, tmp_path):
    assert run_cli("extract-teacher", tmp_path / "extract.toml")[0] == 0
    store = FeatureStore(tmp_path / "out/images")
    assert store.field("logits").shape == [5] and store.field("classes").dtype == "int32"
    assert store.teacher("logits")["classes"] == 20 and store.failed_rows.tolist() == [7]
    assert (store.read("classes", [7]) == -1).all() and store.read("logits", [7]).isnan().all()
    mixed = "[data.augment]\nmixup = 0.8\ncutmix = 1.0"
    for knobs in ("", 'rest = "spread"\ntop_k = 3', mixed):
        code, _, err = world(knobs)
        assert code == 0, err


def test_what_the_store_does_not_keep_is_refused(world, run_cli, tmp_path):
    code, _, err = run_cli("extract-teacher", tmp_path / "extract.toml", "--set", 'corpora.0.fields=["logits"]')
    assert code == 1 and "asks for logits of the best classes; ask for `classes` as well" in err
    assert run_cli("extract-teacher", tmp_path / "extract.toml")[0] == 0
    code, _, err = world("top_k = 9")
    assert code == 1 and "top_k = 9, the store keeps the 5 best; take fewer" in err
