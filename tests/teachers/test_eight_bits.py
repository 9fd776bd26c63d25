"""Linear maps in 8 bits: nearly what the network says, another fingerprint, and one line where it cannot be."""

import sys

import pytest
import torch
from torch import nn

from distillkit.errors import MissingExtra, TeacherError
from distillkit.teachers import _eight_bits
from distillkit.teachers._eight_bits import eight_bits, refuse_eight_bits
from distillkit.teachers.timm import Timm
from tests.teachers.test_timm import example

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    pytest.importorskip("torchao")
    knobs = example(tmp_path_factory.mktemp("dino"))
    return {precision: Timm(**knobs, precision=precision) for precision in ("fp32", "bf16", "int8")}


def test_it_says_nearly_the_same_and_is_another_teacher(networks):
    pixels = torch.randint(256, (4, 3, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    said = {name: network.forward(pixels=pixels).image for name, network in networks.items()}
    near = torch.cosine_similarity(said["int8"], said["fp32"])
    assert said["int8"].dtype == torch.float32 and near.min() > 0.99 and not torch.equal(said["int8"], said["bf16"])
    prints = {name: network.fingerprint() for name, network in networks.items()}
    assert prints["int8"] == prints["fp32"] | {"precision": "int8"}


def test_its_linear_maps_are_rounded_and_nothing_else(networks):
    weights = {name: type(module.weight) for name, module in networks["int8"].model.named_modules()
               if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm)}  # fmt: skip
    rounded = {name for name, kind in weights.items() if kind.__module__.startswith("torchao")}
    assert rounded == {"blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"}


def test_a_classifier_and_odd_sides_stay():
    pytest.importorskip("torchao")
    network = nn.ModuleDict({"whole": nn.Linear(32, 32), "odd": nn.Linear(32, 10), "head": nn.Linear(32, 16)})
    eight_bits(network.bfloat16().requires_grad_(False), "int8", but=network["head"])
    kinds = {name: type(module.weight) is nn.Parameter for name, module in network.items()}
    assert kinds == {"whole": False, "odd": True, "head": True}
    with pytest.raises(TeacherError, match=r'"int8": this network has no linear maps'):
        eight_bits(nn.Sequential(nn.Linear(32, 10)), "int8")


@pytest.mark.parametrize(
    ("precision", "capability", "fits"),
    [("fp8", (8, 9), True), ("fp8", (9, 0), True), ("fp8", (8, 6), False), ("int8", (8, 0), True),
     ("int8", (7, 5), False), ("bf16", (7, 0), True)],
)  # fmt: skip
def test_what_a_card_lacks_is_refused_before_anything_is_loaded(monkeypatch, precision, capability, fits):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr(_eight_bits, "_torchao", lambda: None)
    if fits:
        refuse_eight_bits(precision, GPU)
        return
    with pytest.raises(
        TeacherError, match=rf'^teacher\.precision = "{precision}": cuda:0 cannot compute in it'
    ) as told:
        refuse_eight_bits(precision, GPU)
    assert "\n" not in str(told.value)


def test_a_package_that_is_missing_or_does_not_load_is_one_line(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as without:
        without.setattr(sys, "path", [])
        with pytest.raises(MissingExtra, match=r'^torchao is not installed; run: pip install "distillkit\[fp8\]"$'):
            refuse_eight_bits("int8", CPU)
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao/__init__.py").touch()
    (tmp_path / "torchao/quantization.py").write_text("raise ImportError('undefined symbol: _ZN3c10')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TeacherError, match=r"^torchao cannot be loaded here \(undefined symbol: _ZN3c10\)"):
        refuse_eight_bits("int8", CPU)
    for name in ("torchao.quantization", "torchao"):
        sys.modules.pop(name, None)
