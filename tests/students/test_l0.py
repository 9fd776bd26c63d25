"""Masks that learn what a transformer can do without, and the smaller transformer that they leave."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.losses.sparsity import Sparsity
from distillkit.students import _l0
from distillkit.students._count import count
from distillkit.students._masks import Drawn, share_gone
from distillkit.students._slim import encode_image, encode_text, fuse, sizes
from distillkit.students.openclip_pair import OpenclipPair
from distillkit.students.openclip_slim import OpenclipSlim
from distillkit.students.timm_slim import TimmSlim
from distillkit.types import Batch, Features, Widths
from tests.students.small import IMAGES, PAIR, TEXTS
from tests.students.test_inherit import finished_run, openclip_folder


def test_masks_settle_at_the_expected_number_of_zeros():
    log_alpha = torch.tensor([[-20.0, 20.0, -20.0, 20.0], [20.0, 20.0, 20.0, -20.0]])
    assert (_l0.settled(log_alpha) == 0).tolist() == [[True, False, True, False], [False, False, False, True]]


def test_equal_masks_settle_too():
    # P(z > 0) = sigmoid(1.5986) = 0.832 for each of ten: two zeros, although all scores are equal.
    assert (_l0.settled(torch.zeros(10)) == 0).sum() == 2


def test_drawn_masks_reach_0_and_1_and_their_mean_of_survivors_is_what_kept_says():
    torch.manual_seed(0)
    log_alpha = torch.full((20_000,), -1.0)
    mask = _l0.draw(log_alpha, torch.empty(20_000).uniform_(_l0.EPS, 1 - _l0.EPS))
    assert mask.min() == 0
    assert mask.max() == 1
    assert (mask > 0).float().mean().item() == pytest.approx(_l0.kept(log_alpha[:1]).item(), abs=0.01)


def test_a_whole_network_is_almost_not_sparse_and_an_empty_one_is():
    size = _l0.Size(width=8, neurons=32, heads=2, layers=3)
    ones = [torch.ones(shape) for shape in ((8,), (3, 2), (3, 32))]
    weights = 3 * (2 * 8 * 32 + 4 * 8 * 8 + 4 * 8)  # the biases of the MLP are counted as never remaining
    assert size.parameters == weights + 3 * (8 + 32)
    assert size.remaining(*ones) == weights
    zeros = size.remaining(*(0 * one for one in ones))
    assert _l0.sparsity([zeros], [size]) == 1
    assert _l0.sparsity([zeros, size.remaining(*ones)], [size, size]).item() == pytest.approx(
        1 - weights / (2 * size.parameters)
    )


def test_no_channel_is_ever_surely_kept_or_gone():
    assert _l0.kept(torch.tensor([-50.0, 50.0])).tolist() == pytest.approx([_l0.EPS, 1 - _l0.EPS], rel=1e-4, abs=0)


# Whole students


@pytest.mark.parametrize("knob", ["pos_drop_rate", "patch_drop_rate", "attn_drop_rate", "proj_drop_rate", "drop_rate"])
def test_a_slim_trunk_drops_what_its_own_library_would(knob):
    options = {"embed_dim": 24, "depth": 2, "num_heads": 3, knob: 0.5}
    student = TimmSlim(model="vit_tiny_patch16_224", image_size=64, embed_dim=8, options=options, masks=False).train()
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    said = []
    for look in (student.embed, lambda x: student.projection(student.trunk(student.normalise(x)))):
        torch.manual_seed(1)
        said.append(look(pixels))
    torch.testing.assert_close(*said)
    assert not torch.equal(student.embed(pixels), said[0]) and torch.equal(
        student.eval().embed(pixels), student.embed(pixels)
    )


def test_a_slim_tower_drops_patches_as_its_own_library_would():
    vision = PAIR["vision_cfg"] | {"patch_dropout": 0.5}
    student = OpenclipSlim(model=PAIR | {"vision_cfg": vision}, masks=False).train()
    said = []
    for look in (student.embed, lambda x: student.visual(student.normalise(x))):
        torch.manual_seed(1)
        said.append(look(IMAGES))
    torch.testing.assert_close(*said)
    assert not torch.equal(student.embed(IMAGES), said[0])


def slim(seed=0, model=PAIR, **knobs):
    torch.manual_seed(seed)
    return OpenclipSlim(model=model, masks=True, **knobs).eval()


@torch.no_grad()
def prune(student, seed=3):
    """Random masks, of which a third is shut, and so are all heads of the first layer."""
    torch.manual_seed(seed)
    for masks in (student.image_masks, student.text_masks):
        for log_alpha in masks.parameters():
            log_alpha.copy_(torch.where(torch.rand_like(log_alpha) < 1 / 3, -4.0, 2.0 + torch.randn_like(log_alpha)))
        masks.heads[0].fill_(-20)
        masks.heads[1].copy_(torch.tensor([20.0, -20.0]))
    return student


def says(student):
    with torch.no_grad():
        return student.embed(IMAGES), student.embed_text(student.tokenize(TEXTS))


def test_a_slim_student_without_masks_computes_what_open_clip_does():
    pair, plain = OpenclipPair(model=PAIR).eval(), OpenclipSlim(model=PAIR, masks=False).eval()
    plain.load_state_dict(pair.state_dict())
    for ours, theirs in zip(says(plain), says(pair), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


VARIANTS = {
    "plain": PAIR,
    "layer scale, quick gelu": PAIR
    | {"quick_gelu": True}
    | {tower: PAIR[tower] | {"ls_init_value": 0.3} for tower in ("vision_cfg", "text_cfg")},
    "mean pooled, no first norm": PAIR
    | {"vision_cfg": PAIR["vision_cfg"] | {"pool_type": "avg", "no_ln_pre": True, "final_ln_after_pool": True}},
    "bias": PAIR | {"text_cfg": PAIR["text_cfg"] | {"proj_bias": True}},
}


@pytest.mark.parametrize("model", VARIANTS.values(), ids=VARIANTS)
def test_the_fused_says_what_the_masked_said_and_is_smaller(model):
    student = prune(slim(model=model))
    before, size = says(student), count(student)
    student.fuse()
    for ours, theirs in zip(says(student), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    after = count(student)
    for part in ("image", "text", "token_embedding", "image_macs", "text_macs"):
        assert getattr(after, part) < 0.8 * getattr(size, part), part
    assert student.visual.transformer.resblocks[0].attn.in_proj_weight.numel() == 0
    assert "sparsity" not in student.widths


def test_layers_without_heads_or_neurons_leave_their_bias():
    student = slim()
    for tower, encode, given in (
        (student.visual, encode_image, student.normalise(IMAGES)),
        (student.text, encode_text, student.tokenize(TEXTS)),
    ):
        for linear in (module for module in tower.modules() if isinstance(module, torch.nn.Linear)):
            torch.nn.init.normal_(linear.bias)
        nothing = [torch.zeros(2), torch.ones(2)], [torch.ones(128), torch.zeros(128)]
        masks = Drawn(torch.arange(32).fmod(3).clamp(max=1), *nothing)
        before = encode(tower, given, masks)
        fuse(tower, masks)
        torch.testing.assert_close(encode(tower, given), before, rtol=1e-5, atol=1e-5)
        assert sizes(tower) == (21, [0, 2], [128, 0])


def test_fused_students_are_rebuilt_from_their_weights_alone():
    student = prune(slim())
    student.fuse()
    again = OpenclipSlim(model=PAIR, masks=False).eval()
    optimizer = torch.optim.AdamW(again.parameters())  # a resumed run makes it before it loads
    again.load_state_dict(student.state_dict())
    for ours, theirs in zip(says(again), says(student), strict=True):
        assert torch.equal(ours, theirs)
    again.train()(Batch(pixels=IMAGES, tokens=again.tokenize(TEXTS))).image.square().sum().backward()
    optimizer.step()
    assert optimizer.state[again.visual.conv1.weight]["exp_avg"].shape == student.visual.conv1.weight.shape


def test_a_run_of_two_stages(tmp_path):
    teacher, name = openclip_folder(tmp_path / "teacher", PAIR)
    first = OpenclipSlim(model=PAIR, masks=True, inherit=name).eval()
    first.begin()
    assert torch.equal(first.visual.proj, teacher.visual.proj)
    prune(first)
    run = finished_run(tmp_path / "masked", "openclip_slim", first, model=PAIR, masks=True, inherit=name)

    fused = OpenclipSlim(model=PAIR, masks=False, inherit=run).eval()
    fused.begin()
    for ours, theirs in zip(says(fused), says(first), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    run = finished_run(tmp_path / "fused", "openclip_slim", fused, model=PAIR, masks=False, inherit=run)

    third = OpenclipSlim(model=PAIR, masks=True, inherit=run)
    third.begin()
    found = third(Batch(pixels=IMAGES, tokens=third.tokenize(TEXTS)))
    assert third.image_masks.hidden.shape == fused.visual.class_embedding.shape
    assert 0.5 < found.sparsity.item() < 0.9  # still measured against the whole network
    again = OpenclipSlim(model=PAIR, masks=True, inherit=run)
    again.load_state_dict(third.state_dict())
    torch.testing.assert_close(again(Batch(pixels=IMAGES)).sparsity, found.sparsity)


def test_a_teacher_of_another_shape_is_refused(tmp_path):
    wide = PAIR | {"vision_cfg": PAIR["vision_cfg"] | {"width": 48}}
    _, name = openclip_folder(tmp_path / "teacher", wide)
    with pytest.raises(RecipeError, match=r"inherit from .* in model; set model to its name"):
        OpenclipSlim(model=PAIR, masks=True, inherit=name).begin()


def test_masks_are_random_in_training_and_settled_in_evaluation():
    student = prune(slim())
    assert torch.equal(says(student)[0], says(student)[0])
    student.train()
    assert not torch.equal(says(student)[0], says(student)[0])


def test_masks_are_clamped_once_a_step_was_made():
    student = slim().train()
    student(Batch(pixels=IMAGES, step=0))
    assert (student.image_masks.hidden == 10).all()
    student(Batch(pixels=IMAGES, step=1))
    assert student.image_masks.hidden.max().item() == pytest.approx(4.60517)


def test_the_price_drives_the_masks_to_the_target():
    student = slim().train()
    loss = Sparsity(Widths(student.widths, {}), target=0.4, warmup_steps=1)
    masks = [*student.image_masks.parameters(), *student.text_masks.parameters()]
    rate = student.image_masks.learning_rate
    optimizer = torch.optim.AdamW([*masks, *loss.parameters()], lr=rate, weight_decay=0)
    groups = [student.image_masks, student.text_masks]
    for step in range(400):
        for group in groups:
            group.clamp()
        sparsity = share_gone(groups)
        loss(Batch(step=step), Features(sparsity=sparsity)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert 0.39 < sparsity.item() < 0.6


def test_resuming_keeps_the_masks():
    student = prune(slim())
    again = slim(seed=1)
    again.load_state_dict(student.state_dict())
    for ours, theirs in zip(says(again), says(student), strict=True):
        assert torch.equal(ours, theirs)


# timm's

TIMM = {"model": "vit_tiny_patch16_224", "image_size": 32, "embed_dim": 8, "masks": True}
OPTIONS = {"embed_dim": 24, "depth": 2, "num_heads": 3}
FAMILIES = {
    "class token": {},
    "mean pooled, registers, layer scale": {"global_pool": "avg", "reg_tokens": 2, "init_values": 0.5},
    "positions of patches alone, no qkv bias": {
        "no_embed_class": True,
        "pre_norm": True,
        "qkv_bias": False,
    },
}


def timm_slim(seed=0, **options):
    torch.manual_seed(seed)
    return TimmSlim(**TIMM, options=OPTIONS | options).eval()


@torch.no_grad()
def prune_timm(student):
    torch.manual_seed(3)
    for log_alpha in student.image_masks.parameters():
        log_alpha.copy_(torch.where(torch.rand_like(log_alpha) < 1 / 3, -4.0, 2.0 + torch.randn_like(log_alpha)))
    student.image_masks.heads[0].fill_(-20)
    student.image_masks.heads[1].copy_(torch.tensor([20.0, -20.0, 20.0]))
    return student


@pytest.mark.parametrize("options", FAMILIES.values(), ids=FAMILIES)
def test_a_timm_vit_without_masks_is_timms_own_forward(options):
    student = TimmSlim(**TIMM | {"masks": False}, options=OPTIONS | options).eval()
    trunk = student.trunk
    theirs = student.projection(trunk.forward_head(trunk.forward_features(student.normalise(IMAGES)), pre_logits=True))
    torch.testing.assert_close(student.embed(IMAGES), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", FAMILIES.values(), ids=FAMILIES)
def test_a_fused_timm_vit_says_what_the_masked_said_and_is_smaller(options):
    student = prune_timm(timm_slim(**options))
    before, size = student.embed(IMAGES), count(student)
    student.fuse()
    torch.testing.assert_close(student.embed(IMAGES), before, rtol=1e-5, atol=1e-5)
    after = count(student)
    assert after.image < 0.8 * size.image and after.image_macs < 0.8 * size.image_macs
    again = TimmSlim(**TIMM | {"masks": False}, options=OPTIONS | options).eval()
    again.load_state_dict(student.state_dict())
    assert torch.equal(again.embed(IMAGES), student.embed(IMAGES))


def test_other_networks_of_timm_are_refused_by_name():
    with pytest.raises(RecipeError, match="not for one like swin_tiny"), torch.device("meta"):
        TimmSlim(model="swin_tiny_patch4_window7_224", image_size=224, embed_dim=8, masks=True)
