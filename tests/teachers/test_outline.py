"""What teachers will give, told without their weights: none of these is on this machine, and none is fetched."""

import pytest

from distillkit.errors import TeacherError
from distillkit.recipe import Component
from distillkit.recipe.registry import resolve


def outline(kind, **knobs):
    return resolve("teachers", kind).outline(**knobs)


def vit(width, cells, **more):
    return more | {"cls": [width], "patches": [cells, width]}


@pytest.mark.parametrize(
    ("model", "fields", "looks"),
    [
        ("ViT-L-14/openai", vit(1024, 256, image=[768], text=[768]), (224, "centre", "bicubic")),
        ("ViT-H-14-378-quickgelu/dfn5b", vit(1280, 729, image=[1024], text=[1024]), (378, "whole", "bicubic")),
        ("coca_ViT-B-32/laion2b_s13b_b90k", {"image": [512], "text": [512]}, (224, "centre", "bicubic")),
        ("MobileCLIP-S1/datacompdr", {"image": [512], "text": [512]}, (256, "centre", "bilinear")),
    ],
)
def test_of_open_clip(model, fields, looks):
    told = outline("openclip", model=model)
    assert told.fields == fields
    assert (told.preprocess.size[0], told.preprocess.shows, told.preprocess.interpolation) == looks


@pytest.mark.parametrize(
    ("knobs", "fields"),
    [
        ({"model": "vit_small_patch16_dinov3", "grid": 7}, vit(384, 49, image=[384])),
        ({"model": "vit_base_patch16_224", "top_k": 5}, vit(768, 196, image=[768], logits=[5], classes=[5])),
        ({"model": "resnet50", "top_k": "all"}, {"image": [2048], "logits": [1000]}),
        ({"model": "efficientnet_b0"}, {"image": [1280]}),
    ],
)
def test_of_timm(knobs, fields):
    assert outline("timm", **knobs).fields == fields


@pytest.mark.parametrize(
    ("kind", "knobs", "message"),
    [
        ("openclip", {"model": "ViT-L-14/openai", "grid": 5}, "teacher.grid = 5 does not divide its 16 x 16 patches"),
        (
            "timm",
            {"model": "vit_base_patch16_224", "image_size": 230},
            "image_size = 230 is no multiple of its patches",
        ),
        ("timm", {"model": "resnet50", "top_k": 2000}, "teacher.top_k = 2000, its classes are 1000"),
        ("timm", {"model": "resnet50", "pixels": "nvjpeg"}, "teacher.pixels: "),
        ("timm", {"model": "resnet50", "device": "nonsense"}, "teacher.device"),
        (
            "timm",
            {"model": "qwen3_vit_88m_enc"},
            "qwen3_vit_88m_enc: is the encoder of a larger model and pools nothing",
        ),
        ("run", {"run": "nowhere"}, "nowhere: has no finished run that could be the teacher"),
    ],
)
def test_what_does_not_fit_is_refused_then(kind, knobs, message):
    Component(kind=kind, **knobs).check("teachers", "teacher")
    with pytest.raises(TeacherError, match=message):
        outline(kind, **knobs)


def test_what_only_the_loaded_network_tells_is_told_then(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert outline("openclip", model="hf-hub:nobody/nothing") is None
    assert outline("timm", model="resnet50", weights=str(tmp_path / "weights.pth"), top_k="all") is None
