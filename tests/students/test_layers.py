"""Layers are counted as timm counts them, and each tower by itself."""

import math

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.students._layers import distances, refuse_uncounted

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 3, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 16},
    "text_cfg": {"layers": 1, "width": 32, "heads": 2, "context_length": 8, "vocab_size": 49408},
}


class Student(nn.Module):
    def __init__(self, model: str):
        super().__init__()
        self.trunk = timm.create_model(model, num_classes=0)
        self.projection = nn.Linear(2, 2)


@pytest.mark.parametrize(
    "model",
    [
        "resnet18",
        "regnety_002",
        "convnext_atto",
        "efficientnet_b0",
        "vit_tiny_patch16_224",
        "vit_small_patch14_reg4_dinov2",
        "deit_tiny_distilled_patch16_224",
        "swin_tiny_patch4_window7_224",
    ],
)
def test_as_timm_counts_them_below_its_classifier(model):
    """But for norms behind the last block, which count with what follows the network."""
    with torch.device("meta"):
        student, whole = Student(model), timm.create_model(model, num_classes=10)
    share = {
        id(p): group["lr_scale"] for group in param_groups_layer_decay(whole, layer_decay=0.5) for p in group["params"]
    }
    theirs = {name: round(-math.log2(share[id(p)])) for name, p in whole.named_parameters()}
    found = distances(student)
    for name, _ in student.trunk.named_parameters():
        assert found[f"trunk.{name}"] == (0 if name.startswith("norm.") else theirs[name]), name
    assert found["projection.weight"] == 0


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        ("visual.conv1.weight", 4),
        ("visual.ln_pre.weight", 4),
        ("visual.transformer.resblocks.0.ln_1.weight", 3),
        ("visual.transformer.resblocks.2.ln_1.weight", 1),
        ("visual.ln_post.weight", 0),
        ("text.token_embedding.weight", 2),
        ("text.transformer.resblocks.0.ln_1.weight", 1),
        ("text.text_projection", 0),
        ("logit_scale", 0),
    ],
)
def test_each_tower_by_itself(name, distance):
    student = Component(kind="openclip_pair", model=CLIP).build("students")
    assert distances(student)[name] == distance


def test_a_resnet_of_clip():
    vision = {"layers": [1, 2, 1, 1], "width": 16, "image_size": 64}
    student = Component(kind="openclip_image", model=CLIP | {"vision_cfg": vision}).build("students")
    found = distances(student)
    names = ("conv1.weight", "bn3.bias", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer2.1.conv1.weight")
    assert [found[f"visual.{name}"] for name in names] == [6, 6, 5, 4, 3]
    assert [found[f"visual.{name}"] for name in ("layer4.0.conv1.weight", "attnpool.positional_embedding")] == [1, 0]


def test_a_student_whose_layers_cannot_be_told_is_refused():
    refuse_uncounted(nn.Linear(2, 2), 1.0)
    with pytest.raises(RecipeError, match=r"layer_decay = 0\.5: the layers of this student \(Linear\)"):
        refuse_uncounted(nn.Linear(2, 2), 0.5)
