"""What every student promises, for every file of the folder, with and without its second forwards."""

import inspect
import typing

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.recipe import Component
from distillkit.recipe.registry import kinds, resolve
from distillkit.students._text import TextStudent
from distillkit.types import Batch, Features
from tests.students.small import IMAGES, PAIR, TEXTS

# What a knob of that name is given in these tests; all others keep their defaults.
KNOBS = {
    "image": {"kind": "timm_image", "model": "vit_tiny_patch16_224", "image_size": 32, "embed_dim": 8}
    | {"options": {"embed_dim": 24, "depth": 2, "num_heads": 3}},
    "context": 2,
    "image_size": 32,
    "embed_dim": 8,
    "masks": True,
    "options": {"embed_dim": 24, "depth": 2, "num_heads": 3},
}
EXTRAS = {"tokens": True, "drop_patches": 0.5, "classes": 5}


def knobs_of(kind, extras):
    """Values for the required knobs of a kind, and for those of `extras` that it has."""
    constructor = resolve("students", kind)
    known = inspect.signature(constructor).parameters
    tables = dict in map(typing.get_origin, typing.get_args(typing.get_type_hints(constructor.__init__)["model"]))
    given = {"model": PAIR if tables else "vit_tiny_patch16_224"} | KNOBS | extras
    return {name: value for name, value in given.items() if name in known}


def build(kind, extras=None, seed=0):
    torch.manual_seed(seed)
    component = Component(kind=kind, **knobs_of(kind, extras or {}))
    component.check("students", "student")
    return component.build("students")


def batch(student):
    tokens = student.tokenize(TEXTS) if "text" in student.widths else None
    mask = None
    if getattr(student, "patches", 0):
        mask = torch.tensor([[True, False, True, False]] * 2 + [[False] * 4])
    return Batch(pixels=IMAGES, tokens=tokens, mask=mask, match=torch.arange(3), step=1)


def given(features):
    values = {name: getattr(features, name) for name in Features.__dataclass_fields__}
    return {name: value for name, value in values.items() if value is not None}


every = pytest.mark.parametrize(
    ("kind", "extras"), [(kind, extras) for kind in kinds("students") for extras in ({}, EXTRAS)], ids=str
)


@every
def test_gives_what_its_widths_say(kind, extras):
    student = build(kind, extras)
    found = given(student(batch(student)))
    assert found.keys() == student.widths.keys()
    for name, value in found.items():
        assert (value.shape[-1] if value.ndim else 1) == student.widths[name], name
        assert value.isfinite().all(), name


@every
def test_trains_all_it_has(kind, extras):
    student = build(kind, extras)
    sum(value.float().square().sum() for value in given(student(batch(student))).values()).backward()
    still = [
        n for n, p in student.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]
    assert not still


@every
def test_one_seed_is_one_student(kind, extras):
    first, second, other = (build(kind, extras, seed) for seed in (0, 0, 1))
    torch.manual_seed(7)
    one = given(first(batch(first)))
    torch.manual_seed(7)
    two = given(second(batch(second)))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))


@every
def test_is_its_weights(kind, extras):
    """Built anew from its knobs, with its weights, it says the same: what evaluation and resumption rely on."""
    student, again = build(kind, extras).eval(), build(kind, extras, seed=1).eval()
    with torch.no_grad():
        for value in student.parameters():
            value.add_(0.01)
    again.load_state_dict({name: value.clone() for name, value in student.state_dict().items()})
    if "image" in student.widths:
        assert torch.equal(student.embed(IMAGES), again.embed(IMAGES))
    if "text" in student.widths:
        assert torch.equal(student.embed_text(student.tokenize(TEXTS)), again.embed_text(again.tokenize(TEXTS)))


@every
def test_runs_in_half_precision(kind, extras):
    student = build(kind, extras).eval()
    whole = given(student(batch(student)))
    with torch.autocast("cpu", torch.bfloat16):
        half = given(student(batch(student)))
    for name in half.keys() - {"masked_image"}:  # that one is random
        assert half[name].isfinite().all(), name
        torch.testing.assert_close(half[name].float(), whole[name].float(), rtol=0.1, atol=0.1)


@every
def test_embeds_as_it_trains(kind, extras):
    student = build(kind, extras).eval()
    found = student(batch(student))
    if "image" in student.widths:
        torch.testing.assert_close(student.embed(IMAGES), found.image)
    if "text" in student.widths:
        torch.testing.assert_close(student.embed_text(student.tokenize(TEXTS)), found.text)


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds("students") if issubclass(resolve("students", kind), TextStudent)]
)
def test_padding_changes_nothing(kind):
    student = build(kind).eval()
    tokens = student.tokenize(TEXTS)
    assert tokens.shape == (3, 7)  # start, five words, end
    padded = torch.nn.functional.pad(tokens, (0, 3))
    torch.testing.assert_close(student.embed_text(padded), student.embed_text(tokens))
    torch.testing.assert_close(student.embed_text(tokens[:1, :5]), student.embed_text(tokens)[:1])


@pytest.mark.parametrize("kind", kinds("students"))
def test_a_text_says_the_same_alone_and_beside_longer_ones(kind):
    """Token 0 pads, and is a "!" within a text, too: none of a text is taken for padding, and no end of it is lost."""
    student = build(kind).eval()
    if "text" not in student.widths:
        return
    for text in ("hi!😀", "so (!) much", "what!+!", "!`", "a!b", "!"):
        alone = student.embed_text(student.tokenize([text]))
        beside = student.embed_text(student.tokenize([text, "a longer text that stands beside the one that is meant"]))
        torch.testing.assert_close(alone, beside[:1])
        assert student.tokenize([text]).max() == student.tokenize(["a longer text"]).max()  # its end


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [
        ("timm_image", "resnet81", "resnet18"),
        ("timm_image", "proteus-vit-s", "Proteus-ViT-S-14"),
        ("openclip_pair", "ViT-B/32", "ViT-B-32"),
        ("openclip_image", "clip-kd-vit-t", "CLIP-KD-ViT-T-16"),
        ("openclip_text", "tinyclip-vit-8m", "TinyCLIP-ViT-8M-16-Text-3M"),
        ("openclip_slim", "vitb32", "ViT-B-32"),
    ],
)
def test_unknown_names_are_told_the_nearest(kind, name, nearest):
    with pytest.raises(RecipeError, match=f"{name}.*did you mean.*{nearest}"):
        Component(kind=kind, **(knobs_of(kind, {}) | {"model": name})).build("students")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("timm_image", {"options": {"dept": 2}}, "dept"),
        ("openclip_pair", {"model": {"embed_dim": 8}}, "lacks vision_cfg, text_cfg"),
        ("openclip_pair", {"model": PAIR | {"text_cfg": {"widht": 8}}}, "widht"),
        ("openclip_pair", {"model": "coca_ViT-B-32"}, "CoCa"),
        ("openclip_slim", {"model": "RN50"}, "not for ModifiedResNet"),
    ],
    ids=str,
)
def test_wrong_knobs_are_one_line(kind, change, message):
    with pytest.raises(RecipeError, match=message) as caught, torch.device("meta"):
        Component(kind=kind, **(knobs_of(kind, {}) | change)).build("students")
    assert "\n" not in str(caught.value)


def test_pixels_are_normalised_by_the_models_own_mean_and_std():
    student = build("timm_image")
    grey = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    torch.testing.assert_close(student.normalise(grey), torch.ones(1, 3, 32, 32))  # mean and std are 0.5
    first = build("openclip_pair").normalise(grey)[0, :, 0, 0]
    torch.testing.assert_close(
        first,
        (1 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )


def test_the_logit_scale_stays_below_a_hundred():
    student = build("openclip_pair")
    assert student(batch(student)).scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        student.logit_scale.fill_(9.0)
    assert student(batch(student)).scale.item() == pytest.approx(100)
    assert student.logit_scale.item() == pytest.approx(4.60517)


def test_an_encoder_that_pools_nothing_is_refused():
    knobs = {"model": "qwen3_vit_88m_enc", "image_size": 224, "embed_dim": 32}
    with pytest.raises(RecipeError, match="qwen3_vit_88m_enc is the encoder of a larger model"), torch.device("meta"):
        Component(kind="timm_image", **knobs).build("students")
