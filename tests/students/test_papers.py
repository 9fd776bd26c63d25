"""The papers' students have the sizes that the papers, or their configurations, say. Built on the meta device."""

import pytest
import torch

from distillkit.students._configs import IMAGES, PAIRS
from distillkit.students._count import count, image_macs
from distillkit.students.openclip_image import OpenclipImage
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.openclip_slim import OpenclipSlim
from distillkit.students.openclip_text import OpenclipText
from distillkit.students.timm_image import TimmImage
from tests.students.small import PAIR

MILLION = 1e6


def counted(kind, **knobs):
    with torch.device("meta"):
        return count(kind(**knobs))


@pytest.mark.parametrize(
    ("model", "image", "text"),
    [  # as the paper's list of models names them, token embedding apart
        ("TinyCLIP-ViT-39M-16-Text-19M", 38.6, 19.2),
        ("TinyCLIP-ViT-8M-16-Text-3M", 8.3, 2.5),
        ("TinyCLIP-ResNet-30M-Text-29M", 29.6, 28.9),
        ("TinyCLIP-ResNet-19M-Text-19M", 18.6, 19.5),
        ("TinyCLIP-ViT-61M-32-Text-29M", 61.4, 28.7),
        ("TinyCLIP-ViT-40M-32-Text-19M", 39.7, 19.2),
        ("CLIP-KD-ViT-T-16", 5.6, 21.5),
        ("CLIP-KD-MobileViT-S", 5.3, 21.5),
        ("CLIP-KD-Swin-T", 27.9, 21.5),
        ("CLIP-KD-MobileNetV3-Small", 2.0, 21.5),
        ("CLIP-KD-EfficientNet-B0", 4.7, 21.5),
        ("CLIP-KD-ResNet-18", 11.4, 21.5),
    ],
)
def test_pairs_are_as_large_as_the_paper_says(model, image, text):
    found = counted(OpenclipPair, model=model)
    assert (round(found.image / MILLION, 1), round(found.text / MILLION, 1)) == (image, text)
    config = PAIRS[model]["text_cfg"]
    assert found.token_embedding == config["vocab_size"] * config["width"]
    assert found.other == 1


@pytest.mark.parametrize(
    ("model", "embed_dim", "millions", "gigamacs"),
    [
        ("DIME-FM-Swin-T", 768, 28.1, 4.5),
        ("Proteus-ViT-Ti-14", None, 5.5, 1.7),
        ("Proteus-ViT-S-14", None, 21.6, 6.1),
        ("Proteus-ViT-B-14", None, 85.7, 23.2),
        ("Proteus-ViT-L-14", None, 303.2, 81.0),
        ("OOD-ResNet-18", 768, 11.6, 1.8),
        ("OOD-ResNet-50", 768, 25.1, 4.1),
        ("OOD-ViT-B-32", 768, 88.0, 4.4),
    ],
)
def test_image_students_are_as_large_and_as_costly_as_the_paper_says(model, embed_dim, millions, gigamacs):
    found = counted(TimmImage, model=model, image_size=224, embed_dim=embed_dim)
    assert round(found.image / MILLION, 1) == millions
    assert round(found.image_macs / 1e9, 1) == gigamacs
    assert (found.text, found.token_embedding, found.text_macs) == (0, 0, 0)


def test_dime_fm_vit():
    found = counted(OpenclipImage, model="DIME-FM-ViT-B-32")
    assert round(found.image / MILLION, 1) == 88.0
    assert round(found.image_macs / 1e9, 1) == 4.4


def test_proteus_has_layer_scale_one_and_no_registers():
    with torch.device("meta"):
        student = TimmImage(model="Proteus-ViT-Ti-14", image_size=224, tokens=True)
    assert student.patches == 256
    assert student.trunk.num_prefix_tokens == 1
    assert len(student.trunk.blocks) == 12
    assert student.trunk.blocks[0].attn.num_heads == 3
    small = TimmImage(model="Proteus-ViT-Ti-14", image_size=28, options={"depth": 1})
    assert (small.trunk.blocks[0].ls1.gamma == 1).all()


def test_every_paper_model_is_built_by_some_test_here():
    tested = {
        mark.args[1][row][0]
        for test in (
            test_pairs_are_as_large_as_the_paper_says,
            test_image_students_are_as_large_and_as_costly_as_the_paper_says,
        )
        for mark in test.pytestmark
        for row in range(len(mark.args[1]))
    }
    assert tested | {"DIME-FM-ViT-B-32"} == PAIRS.keys() | IMAGES.keys()


def test_count_by_hand():
    found = counted(OpenclipPair, model=PAIR)
    block = 4 * 32 * 32 + 4 * 32 + 2 * 32 * 128 + 32 + 128 + 4 * 32  # attention, MLP, two norms
    assert found.image == 3 * 16 * 16 * 32 + 32 + 5 * 32 + 2 * block + 4 * 32 + 32 * 8
    assert found.text == 10 * 32 + 2 * block + 2 * 32 + 32 * 8
    assert found.token_embedding == 49408 * 32
    assert found.parameters == found.image + found.text + found.token_embedding + 1
    weights = 4 * 32 * 32 + 2 * 32 * 128
    scores = 2 * 32  # per pair of tokens: query times key, weights times value
    assert found.image_macs == 4 * 3 * 16 * 16 * 32 + 2 * (5 * weights + 25 * scores) + 32 * 8
    assert found.text_macs == 2 * (10 * weights + 100 * scores) + 32 * 8


def test_what_learns_no_more_costs_as_much():
    """torch runs it by fused paths, which its counter is blind to."""
    student = OpenclipPair(model=PAIR).eval()
    learning = count(student)
    with torch.no_grad():
        assert count(student.requires_grad_(False)) == learning
    assert torch.backends.mha.get_fastpath_enabled() and image_macs(student) == learning.image_macs
    assert image_macs(OpenclipText(model=PAIR)) is None


def test_towers_alone_count_as_in_the_pair():
    pair, image, text = (counted(kind, model=PAIR) for kind in (OpenclipPair, OpenclipImage, OpenclipText))
    assert (image.image, image.image_macs, image.text) == (pair.image, pair.image_macs, 0)
    assert (text.text, text.text_macs, text.image) == (pair.text, pair.text_macs, 0)


def test_masks_are_counted_apart():
    masked = counted(OpenclipSlim, model=PAIR, masks=True)
    plain = counted(OpenclipSlim, model=PAIR, masks=False)
    assert masked.other - plain.other == 2 * (32 + 2 * 2 + 2 * 128)
    assert (masked.image, masked.text) == (plain.image, plain.text)


def test_counting_changes_nothing():
    student = OpenclipPair(model=PAIR)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    count(student)
    assert student.training
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())
