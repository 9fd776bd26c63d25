"""Masks, inheritance and retrieval at other sizes than the golden ones, and at their edges."""

import pytest
import torch

from distillkit.errors import RecipeError
from distillkit.evals._tip import few_shot_logits
from distillkit.students import _l0
from distillkit.students._inherit import inherit, inherited_layers
from distillkit.students._masking import keep_some


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [(12, 6, [0, 2, 4, 6, 8, 10]), (12, 9, list(range(9))), (9, 6, list(range(6))), (12, 3, [0, 4, 8]), (2, 2, [0, 1])],
)
def test_layers_at_even_intervals_from_the_front(teacher, student, expected):
    assert inherited_layers(teacher, student) == expected


def test_more_layers_than_the_teacher_are_refused():
    with pytest.raises(RecipeError, match="13 layers, the teacher only 12"):
        inherited_layers(12, 13)


def test_heads_of_query_key_and_value_are_cut_each():
    # 3 heads of width 2: the rows of q are 0..5, of k 10..15, of v 20..25; the student has 2 heads.
    rows = torch.tensor([*range(6), *range(10, 16), *range(20, 26)]).float()
    teacher = {"blocks.0.attn.qkv.weight": rows[:, None].expand(18, 6), "blocks.0.attn.qkv.bias": rows}
    student = {"blocks.0.attn.qkv.weight": (12, 4), "blocks.0.attn.qkv.bias": (12,)}
    cut = inherit(teacher, student, head_width=2)
    expected = [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert cut["blocks.0.attn.qkv.bias"].tolist() == expected
    assert cut["blocks.0.attn.qkv.weight"].shape == (12, 4)
    assert cut["blocks.0.attn.qkv.weight"][:, 3].tolist() == expected


def test_stages_choose_their_layers_each():
    # Two stages of 2 and 4 blocks; the student keeps 1 and 2 of them. The numbers of an MLP's layers stay.
    teacher = {
        f"layers.{stage}.blocks.{block}.mlp.{part}.weight": torch.tensor([100.0 * stage + 10 * block + part])
        for stage, blocks in ((0, 2), (1, 4))
        for block in range(blocks)
        for part in (0, 2)
    }
    student = {
        f"layers.{stage}.blocks.{block}.mlp.{part}.weight": (1,)
        for stage, blocks in ((0, 1), (1, 2))
        for block in range(blocks)
        for part in (0, 2)
    }
    found = {name: value.item() for name, value in inherit(teacher, student).items()}
    assert sorted(found.values()) == [0, 2, 100, 102, 120, 122]
    assert found["layers.1.blocks.1.mlp.2.weight"] == 122


def test_inherited_tensors_are_copies_and_scalars_come_whole():
    teacher = {"logit_scale": torch.tensor(4.6), "proj": torch.ones(4, 4)}
    cut = inherit(teacher, {"logit_scale": (), "proj": (2, 3)})
    cut["proj"].zero_()
    assert teacher["proj"].sum() == 16
    assert cut["logit_scale"] == teacher["logit_scale"]


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"proj": (5, 2)}, r"proj is \[5, 2\] in the student, but \[4, 4\]"),
        ({"proj": (2,)}, "proj is"),
        ({"other": (2, 2)}, "the teacher has no 'other'"),
        ({"attn.in_proj_bias": (9,)}, "no whole heads of 2"),
    ],
    ids=str,
)
def test_what_cannot_be_inherited_is_refused(student, message):
    teacher = {"proj": torch.ones(4, 4), "attn.in_proj_bias": torch.ones(12)}
    with pytest.raises(RecipeError, match=message):
        inherit(teacher, student, head_width=2)


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


def test_the_lagrangian_is_one_sided_unless_told():
    l1, l2 = torch.tensor(10.0), torch.tensor(200.0)
    assert _l0.lagrangian(torch.tensor(0.3), 0.4, l1, l2).item() == pytest.approx(1 + 2)
    assert _l0.lagrangian(torch.tensor(0.5), 0.4, l1, l2).item() == 0
    assert _l0.lagrangian(torch.tensor(0.5), 0.4, l1, l2, two_sided=True).item() == pytest.approx(-1 + 2)


def test_the_target_rises_and_stays():
    assert [_l0.target_sparsity(step, final=0.75, start=0.25, warmup=100) for step in (0, 50, 100, 900)] == [
        0.25,
        0.5,
        0.75,
        0.75,
    ]


def test_masking_keeps_the_tokens_of_least_noise():
    tokens = torch.arange(5.0)[None, :, None]
    kept, gone, place = keep_some(tokens, torch.tensor([[0.9, 0.1, 0.5, 0.2, 0.7]]), 0.5)
    assert kept.flatten().tolist() == [1, 3]  # int(5 * 0.5) = 2
    assert gone.tolist() == [[True, False, True, False, True]]
    restored = torch.cat([kept, torch.full((1, 3, 1), -1.0)], dim=1).take_along_dim(place[:, :, None], dim=1)
    assert restored.flatten().tolist() == [-1, 1, -1, 3, -1]


def test_a_shot_that_is_the_image_adds_one():
    axes = torch.eye(3)
    logits = few_shot_logits(2 * axes[:1], axes[:2], axes[[0, 2, 1, 1]].view(2, 2, 3), alpha=1, beta=100)
    torch.testing.assert_close(logits, torch.tensor([[1.0 + 1.0, 0.0]]))


def test_no_channel_is_ever_surely_kept_or_gone():
    assert _l0.kept(torch.tensor([-50.0, 50.0])).tolist() == pytest.approx([_l0.EPS, 1 - _l0.EPS], rel=1e-4, abs=0)
